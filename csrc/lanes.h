/* SHA256d of a header over a vector of nonces, written once. The including file defines
 *   vec       a vector of uint32_t, or uint32_t itself
 *   LANES     how many
 *   LANE_NUMBERS  {0, 1, 2, ...} as a vec
 *   AT_MOST(x, limit)  a bit a lane: x <= limit, unsigned
 * and may define ROTR, CHOOSE, MAJORITY and XOR3 where its instruction set has better ones. */

#ifndef ROTR
#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#endif
#ifndef CHOOSE
#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))
#endif
#ifndef MAJORITY
#define MAJORITY(a, b, c) (((a) & (b)) | ((c) & ((a) | (b))))
#endif
#ifndef XOR3
#define XOR3(x, y, z) ((x) ^ (y) ^ (z))
#endif

#define SPLAT(word) ((vec){0} + (uint32_t)(word))
#define BSWAP(x) ((ROTR(x, 8) & 0xff00ff00u) | (ROTR(x, 24) & 0x00ff00ffu))

/* Each word of the schedule is computed just before its round: sixteen live words, no more. */
#define EXPAND(w, t)                                                                               \
    (w[(t) & 15] += XOR3(ROTR(w[((t) + 14) & 15], 17), ROTR(w[((t) + 14) & 15], 19),               \
                         w[((t) + 14) & 15] >> 10)                                                 \
                    + w[((t) + 9) & 15]                                                            \
                    + XOR3(ROTR(w[((t) + 1) & 15], 7), ROTR(w[((t) + 1) & 15], 18),                \
                           w[((t) + 1) & 15] >> 3))
#define WORD(w, t) ((t) < 16 ? w[(t) & 15] : EXPAND(w, t))

#define ROUND(a, b, c, d, e, f, g, h, w, t)                                                        \
    do {                                                                                           \
        vec t1 = h + (WORD(w, t) + K256[t]) + XOR3(ROTR(e, 6), ROTR(e, 11), ROTR(e, 25))           \
                 + CHOOSE(e, f, g);                                                                \
        d += t1;                                                                                   \
        h = t1 + XOR3(ROTR(a, 2), ROTR(a, 13), ROTR(a, 22)) + MAJORITY(a, b, c);                   \
    } while (0)
#define ROUNDS4_FROM_A(w, t)                                                                       \
    ROUND(a, b, c, d, e, f, g, h, w, (t) + 0);                                                     \
    ROUND(h, a, b, c, d, e, f, g, w, (t) + 1);                                                     \
    ROUND(g, h, a, b, c, d, e, f, w, (t) + 2);                                                     \
    ROUND(f, g, h, a, b, c, d, e, w, (t) + 3)
#define ROUNDS4_FROM_E(w, t)                                                                       \
    ROUND(e, f, g, h, a, b, c, d, w, (t) + 0);                                                     \
    ROUND(d, e, f, g, h, a, b, c, w, (t) + 1);                                                     \
    ROUND(c, d, e, f, g, h, a, b, w, (t) + 2);                                                     \
    ROUND(b, c, d, e, f, g, h, a, w, (t) + 3)
#define ROUNDS8(w, t)                                                                              \
    ROUNDS4_FROM_A(w, t);                                                                          \
    ROUNDS4_FROM_E(w, (t) + 4)
#define ROUNDS56(w)                                                                                \
    ROUNDS8(w, 0);                                                                                 \
    ROUNDS8(w, 8);                                                                                 \
    ROUNDS8(w, 16);                                                                                \
    ROUNDS8(w, 24);                                                                                \
    ROUNDS8(w, 32);                                                                                \
    ROUNDS8(w, 40);                                                                                \
    ROUNDS8(w, 48)

static inline uint32_t hwk_step(const hwk_work *work, uint32_t nonce)
{
    const vec nonces = SPLAT(nonce) + LANE_NUMBERS;
    vec u[16] = {SPLAT(work->tail[0]), SPLAT(work->tail[1]), SPLAT(work->tail[2]), BSWAP(nonces),
                 SPLAT(0x80000000), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0),
                 SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(640)};
    vec a = SPLAT(work->midstate[0]), b = SPLAT(work->midstate[1]), c = SPLAT(work->midstate[2]),
        d = SPLAT(work->midstate[3]), e = SPLAT(work->midstate[4]), f = SPLAT(work->midstate[5]),
        g = SPLAT(work->midstate[6]), h = SPLAT(work->midstate[7]);
    ROUNDS56(u);
    ROUNDS8(u, 56);

    vec v[16] = {a + work->midstate[0], b + work->midstate[1], c + work->midstate[2],
                 d + work->midstate[3], e + work->midstate[4], f + work->midstate[5],
                 g + work->midstate[6], h + work->midstate[7], SPLAT(0x80000000), SPLAT(0),
                 SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(0), SPLAT(256)};
    a = SPLAT(IV256[0]), b = SPLAT(IV256[1]), c = SPLAT(IV256[2]), d = SPLAT(IV256[3]);
    e = SPLAT(IV256[4]), f = SPLAT(IV256[5]), g = SPLAT(IV256[6]), h = SPLAT(IV256[7]);
    ROUNDS56(v);
    ROUNDS4_FROM_A(v, 56);
    ROUND(e, f, g, h, a, b, c, d, v, 60);
    /* What round 60 leaves in e reaches h after round 63: the hash's top word is known here, and
     * the compiler drops what only the other words would have needed. */
    return AT_MOST(BSWAP(h + IV256[7]), SPLAT(work->top));
}
