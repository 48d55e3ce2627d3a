/* SHA256d of a header over vectors of nonces, written once. The including file defines
 *   vec       a vector of uint32_t, or uint32_t itself
 *   LANES     how many
 *   LANE_NUMBERS  {0, 1, 2, ...} as a vec
 *   AT_MOST(x, limit)  a bit a lane: x <= limit, unsigned
 * and may define ROTR, CHOOSE, MAJORITY and XOR3 where its instruction set has better ones, and
 *   CHAINS    vectors that go side by side: one's instructions fill the waits of the other's */

#ifndef ROTR
#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#endif
#ifndef CHOOSE
#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))
#endif
#ifndef MAJORITY
#define MAJORITY(a, b, c) ((b) ^ (((a) ^ (b)) & ((b) ^ (c)))) /* b ^ c was a ^ b a round ago */
#endif
#ifndef XOR3
#define XOR3(x, y, z) ((x) ^ (y) ^ (z))
#endif
#ifndef CHAINS
#define CHAINS 1
#endif

#define INLINE static inline __attribute__((always_inline))
#define EACH_CHAIN _Pragma("GCC unroll 4") for (int c = 0; c < CHAINS; c++)
#define SPLAT(word) ((vec){0} + (uint32_t)(word))
#define BSWAP(x) ((ROTR(x, 8) & 0xff00ff00u) | (ROTR(x, 24) & 0x00ff00ffu))
#define SMALL_SIGMA0(x) XOR3(ROTR(x, 7), ROTR(x, 18), (x) >> 3)
#define SMALL_SIGMA1(x) XOR3(ROTR(x, 17), ROTR(x, 19), (x) >> 10)
#define BIG_SIGMA0(x) XOR3(ROTR(x, 2), ROTR(x, 13), ROTR(x, 22))
#define BIG_SIGMA1(x) XOR3(ROTR(x, 6), ROTR(x, 11), ROTR(x, 25))

/* The state stays where it is and its letters move: letter i of round t, a to h, is here. */
#define STATE(t, i) (((i) - (t)) & 7)

/* Round t, given h + K + word. In just this order both compilers make the fastest code. */
INLINE void apply_round(vec s[8], int t, vec sum)
{
    const vec a = s[STATE(t, 0)], b = s[STATE(t, 1)], c = s[STATE(t, 2)];
    const vec e = s[STATE(t, 4)], f = s[STATE(t, 5)], g = s[STATE(t, 6)];
    const vec sigma1 = BIG_SIGMA1(e), sigma0 = BIG_SIGMA0(a);
    const vec choice = CHOOSE(e, f, g), majority = MAJORITY(a, b, c);
    const vec t1 = sum + choice + sigma1;
    s[STATE(t, 3)] += t1;
    s[STATE(t, 7)] = t1 + (sigma0 + majority);
}

/* Of `moves` and `stays` each bit is a word of the schedule. They and t are constants. */
#define MOVES(i) (moves >> (i) & 1)
#define STAYS(i) (stays >> (i) & 1)

/* Word t: the terms that stay have been added up (hwk_know), those that are zero are left out. */
INLINE vec expand(const vec w[64], const hwk_known *known, int t, uint64_t moves, uint64_t stays)
{
    vec word = SPLAT(0);
    if (STAYS(t - 16) || STAYS(t - 15) || STAYS(t - 7) || STAYS(t - 2))
        word = SPLAT(known->word[t]);
    if (MOVES(t - 16))
        word += w[t - 16];
    if (MOVES(t - 15))
        word += SMALL_SIGMA0(w[t - 15]);
    if (MOVES(t - 7))
        word += w[t - 7];
    if (MOVES(t - 2))
        word += SMALL_SIGMA1(w[t - 2]);
    return word;
}

/* A round that may meet a word or an h that stays, or a word some of whose terms do. */
#define EARLY 32 /* rounds from here on meet none of these; but see hwk_step */
INLINE void early_round(vec s[CHAINS][8], vec w[CHAINS][64], const hwk_known *known, int t,
                        uint64_t moves, uint64_t stays)
{
    EACH_CHAIN {
        vec sum = SPLAT(known->round[t]);
        if (t > __builtin_ctzll(moves) + 3)
            sum += s[c][STATE(t, 7)];
        if (t >= 16 && MOVES(t))
            w[c][t] = expand(w[c], known, t, moves, stays);
        if (MOVES(t))
            sum += w[c][t];
        apply_round(s[c], t, sum);
    }
}

/* Round base + t; base is a multiple of 8 and not known when this is compiled. */
INLINE void late_round(vec s[CHAINS][8], vec w[CHAINS][64], const hwk_known *known, ptrdiff_t base,
                       int t)
{
    EACH_CHAIN {
        vec *const word = &w[c][base + t];
        *word = SMALL_SIGMA0(word[-15]) + word[-16] + word[-7] + SMALL_SIGMA1(word[-2]);
        apply_round(s[c], t, SPLAT(known->round[base + t]) + s[c][STATE(t, 7)] + *word);
    }
}

#define ROUNDS4(round, t) round(t), round((t) + 1), round((t) + 2), round((t) + 3)
#define ROUNDS8(round, t) ROUNDS4(round, t), ROUNDS4(round, (t) + 4)

/* A loop, for the code of all rounds would not fit where a core keeps decoded instructions. */
INLINE void late_rounds(vec s[CHAINS][8], vec w[CHAINS][64], const hwk_known *known, int end)
{
#define LATE(t) late_round(s, w, known, base, t)
    for (ptrdiff_t base = EARLY; base < end; base += 8) {
        __asm__("" : "+r"(base)); /* gcc would unroll it, asked not to or not */
        ROUNDS8(LATE, 0);
    }
}

/* From the first hash in w[c][0] to w[c][7] to a bit a nonce: may it be a hit? */
INLINE uint32_t second_hash(vec s[CHAINS][8], vec w[CHAINS][64], const hwk_work *work)
{
    const hwk_known *known = &work->second;
    uint32_t candidates = 0;

#define SECOND(t) early_round(s, w, known, t, HWK_SECOND_MOVES, HWK_SECOND_STAYS)
    EACH_CHAIN {
        for (int i = 0; i < 8; i++)
            s[c][STATE(1, i)] = SPLAT(known->start[i]);
        s[c][STATE(1, 0)] += w[c][0];
        s[c][STATE(1, 4)] += w[c][0];
    }
    SECOND(1), SECOND(2), SECOND(3);
    ROUNDS4(SECOND, 4), ROUNDS8(SECOND, 8), ROUNDS8(SECOND, 16), ROUNDS8(SECOND, 24);
    late_rounds(s, w, known, 56);
    ROUNDS4(SECOND, 56), SECOND(60);

    /* What round 60 leaves in e is h after round 63: the hash's top word is known here, and the
     * compiler drops what only the other words would have needed. */
    EACH_CHAIN {
        const vec top = s[c][STATE(61, 4)] + IV256[7];
        candidates |= AT_MOST(BSWAP(top), SPLAT(work->top)) << LANES * c;
    }
    return candidates;
}

/* Out of line, for inlined in the loop over the nonces all that does not change would be loaded
 * ahead of the loop, into more registers than there are. */
static __attribute__((noinline)) uint32_t hwk_step(const hwk_work *work, uint32_t nonce)
{
    const hwk_known *known = &work->first;
    vec s[CHAINS][8], w[CHAINS][64];

#define FIRST(t) early_round(s, w, known, t, HWK_FIRST_MOVES, HWK_FIRST_STAYS)
    EACH_CHAIN {
        const vec nonces = SPLAT(nonce) + (uint32_t)(LANES * c) + LANE_NUMBERS;
        for (int i = 0; i < 8; i++)
            s[c][STATE(4, i)] = SPLAT(known->start[i]);
        w[c][3] = BSWAP(nonces);
        s[c][STATE(4, 0)] += w[c][3];
        s[c][STATE(4, 4)] += w[c][3];
    }
    ROUNDS4(FIRST, 4), ROUNDS8(FIRST, 8), ROUNDS8(FIRST, 16), ROUNDS8(FIRST, 24);
    /* Words 16 and 17 stay, and rounds 32 and 33 look back at them: they do as if these moved. */
    EACH_CHAIN w[c][16] = SPLAT(known->word[16]), w[c][17] = SPLAT(known->word[17]);
    late_rounds(s, w, known, 64);
    EACH_CHAIN for (int i = 0; i < 8; i++)
        w[c][i] = s[c][STATE(64, i)] + SPLAT(work->midstate[i]);
    return second_hash(s, w, work);
}

#ifdef VERSIONS
/* Lanes may as well be versions of one header: each has a midstate of its own, and the block with
 * the nonce, and so its schedule, is one for all of them. */
typedef struct {
    vec midstate[8];
    vec start[8];
} hwk_versions;

/* Word 3, and what rounds 4 to 63 add but for h, for LANES nonces from `nonce` on. */
static __attribute__((noinline)) void hwk_schedule(const hwk_work *work, uint32_t nonce,
                                                   uint32_t sums[64][LANES])
{
    const hwk_known *known = &work->first;
    const vec nonces = SPLAT(nonce) + LANE_NUMBERS;
    vec w[64], sum[64];

#define EXPAND(t) w[t] = expand(w, known, t, HWK_FIRST_MOVES, HWK_FIRST_STAYS)
    w[3] = sum[3] = BSWAP(nonces);
    for (int t = 4; t < 18; t++)
        w[t] = SPLAT(known->word[t]);
    EXPAND(18), EXPAND(19), ROUNDS4(EXPAND, 20), ROUNDS8(EXPAND, 24), ROUNDS8(EXPAND, 32);
    ROUNDS8(EXPAND, 40), ROUNDS8(EXPAND, 48), ROUNDS8(EXPAND, 56);
    for (int t = 4; t < 64; t++)
        sum[t] = w[t] + K256[t];
    memcpy(sums + 3, sum + 3, sizeof sum - 3 * sizeof *sum);
}

/* Round t of nonces that stand side by side in `sums`, a chain each. */
INLINE void scheduled_round(vec s[CHAINS][8], const uint32_t sums[][LANES], int t)
{
    EACH_CHAIN apply_round(s[c], t, SPLAT(sums[t][c]) + s[c][STATE(t, 7)]);
}

/* Answers with a bit a version for each of CHAINS nonces: those scheduled from place `at` on. */
static __attribute__((noinline)) uint32_t hwk_step_versions(const hwk_work *work,
                                                            const hwk_versions *versions,
                                                            const uint32_t sums[64][LANES], int at)
{
    const uint32_t(*const from)[LANES] = (const uint32_t(*)[LANES])(sums[0] + at);
    vec s[CHAINS][8], w[CHAINS][64];
    ptrdiff_t base = 0;

    EACH_CHAIN {
        for (int i = 0; i < 8; i++)
            s[c][STATE(4, i)] = versions->start[i];
        s[c][STATE(4, 0)] += from[3][c];
        s[c][STATE(4, 4)] += from[3][c];
    }
#define SCHEDULED(t) scheduled_round(s, from + base, t)
    ROUNDS4(SCHEDULED, 4);
    for (base = 8; base < 64; base += 8) {
        __asm__("" : "+r"(base)); /* as in late_rounds */
        ROUNDS8(SCHEDULED, 0);
    }
    EACH_CHAIN for (int i = 0; i < 8; i++)
        w[c][i] = s[c][STATE(64, i)] + versions->midstate[i];
    return second_hash(s, w, work);
}
#endif
