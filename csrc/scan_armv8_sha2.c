/* Four nonces a step through the SHA-256 instructions, which make four rounds at a time. A chain of
 * them waits for each result; three other chains fill the wait, and 32 registers hold all four. */
#include <arm_neon.h>

#include "impl.h"

#define CHAINS 4

typedef struct {
    uint32x4_t abcd, efgh; /* a and e lowest */
} state;

static inline void rounds4(state *s, uint32x4_t words, int t)
{
    const uint32x4_t wk = words + vld1q_u32(K256 + t), abcd = s->abcd;
    s->abcd = vsha256hq_u32(abcd, s->efgh, wk);
    s->efgh = vsha256h2q_u32(s->efgh, abcd, wk);
}

/* Rounds t to t+59 of all chains; w[c] comes with words t to t+15 and is a ring from there on. What
 * words t+8 to t+12 give to those sixteen later is the same for all nonces: `known`. */
static inline __attribute__((always_inline)) void rounds60(state s[CHAINS],
                                                           uint32x4_t w[CHAINS][4], int t,
                                                           uint32x4_t known)
{
#pragma GCC unroll 15
    for (int i = 0; i < 15; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++) {
            uint32x4_t *word = &w[c][i & 3], later = w[c][(i + 1) & 3];
            if (i >= 4)
                *word = vsha256su1q_u32(i == 6 ? known : vsha256su0q_u32(*word, later),
                                        w[c][(i + 2) & 3], w[c][(i + 3) & 3]);
            rounds4(&s[c], *word, t + 4 * i);
        }
    }
}

static inline uint32_t step(const hwk_work *work, uint32_t nonce)
{
    const uint32x4_t zero = {0}, end = {0x80000000, 0, 0, 0}, bits640 = {0, 0, 0, 640},
                     bits256 = {0, 0, 0, 256}, lowest = {0xffffffff, 0, 0, 0};
    const state midstate = {vld1q_u32(work->midstate), vld1q_u32(work->midstate + 4)};
    /* Words 0 to 3 with a nonce of 0, rounds 0 to 3 and words 16 to 19 of it: out of the loop, since
     * a nonce is only ever added to them. */
    const uint32x4_t words = {work->tail[0], work->tail[1], work->tail[2], 0};
    const uint32x4_t words16 = vsha256su1q_u32(vsha256su0q_u32(words, end), zero, bits640);
    state s[CHAINS], fourth = midstate;
    uint32x4_t w[CHAINS][4];
    rounds4(&fourth, words, 0);

#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        const uint32_t w3 = __builtin_bswap32(nonce + (uint32_t)c);
        const uint32_t sigma0 = hwk_sigma0(w3);
        s[c].abcd = fourth.abcd + (uint32x4_t){w3, 0, 0, 0};
        s[c].efgh = fourth.efgh + (uint32x4_t){w3, 0, 0, 0};
        w[c][0] = end;
        w[c][1] = zero;
        w[c][2] = bits640;
        w[c][3] = words16 + (uint32x4_t){0, 0, sigma0, w3};
    }
    rounds60(s, w, 4, vsha256su0q_u32(bits640, words16));

    /* Round 0 of the second hash adds its word to a and e of what it makes of a word of 0. From
     * there it is sixty rounds too, since e after round 60 is h after round 63: the top word. */
    const state second = {vld1q_u32(work->second.start), vld1q_u32(work->second.start + 4)};
#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        const uint32x4_t abcd = s[c].abcd + midstate.abcd, efgh = s[c].efgh + midstate.efgh;
        s[c].abcd = second.abcd + (abcd & lowest);
        s[c].efgh = second.efgh + (abcd & lowest);
        w[c][0] = vextq_u32(abcd, efgh, 1);
        w[c][1] = vextq_u32(efgh, end, 1);
        w[c][2] = zero;
        /* Word 16 is the sum of word 0 and sigma0 of word 1: 9 and 14, its other terms, are 0. */
        w[c][3] = vextq_u32(bits256, vsha256su0q_u32(abcd, efgh), 1);
    }
    rounds60(s, w, 1, zero);

    const uint32x4_t e = vzip1q_u32(vzip1q_u32(s[0].efgh, s[2].efgh),
                                    vzip1q_u32(s[1].efgh, s[3].efgh));
    const uint8x16_t top = vrev32q_u8(vreinterpretq_u8_u32(e + IV256[7]));
    const uint32x4_t limit = vdupq_n_u32(work->top), bits = {1, 2, 4, 8};
    return vaddvq_u32(vcleq_u32(vreinterpretq_u32_u8(top), limit) & bits);
}

HWK_SCAN(hwk_scan_armv8_sha2, CHAINS, hwk_work, *, step)
