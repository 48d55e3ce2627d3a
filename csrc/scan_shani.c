/* Two nonces a step through the SHA extensions. One chain of sha256rnds2 waits four cycles for each
 * result; a second chain fills half of the wait. */
#include <immintrin.h>

#include "impl.h"

#define CHAINS 2

/* The unit's own order: abef and cdgh hold the state with f (h) in the lowest word. */
typedef struct {
    __m128i abef, cdgh;
} state;

static inline state pack(const uint32_t s[8])
{
    return (state){_mm_set_epi32((int)s[0], (int)s[1], (int)s[4], (int)s[5]),
                   _mm_set_epi32((int)s[2], (int)s[3], (int)s[6], (int)s[7])};
}

static inline __m128i constants(int t)
{
    return _mm_loadu_si128((const __m128i *)(K256 + t));
}

/* Words t+16 to t+19 in place of t to t+3; w is a ring of four vectors. */
static inline void expand(__m128i w[4], int i)
{
    __m128i near = w[(i + 3) & 3], mid = w[(i + 2) & 3];
    __m128i part = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
    w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(part, _mm_alignr_epi8(near, mid, 4)), near);
}

/* Rounds 0 to 61 of all chains. Two more would add nothing: f after round 61 is h after round 63. */
#define ROUNDS2(s, wk)                                                                             \
    do {                                                                                           \
        __m128i next = _mm_sha256rnds2_epu32((s).cdgh, (s).abef, wk);                              \
        (s).cdgh = (s).abef;                                                                       \
        (s).abef = next;                                                                           \
    } while (0)

static inline __attribute__((always_inline)) void rounds(state s[CHAINS], __m128i w[CHAINS][4],
                                                         int last_pair)
{
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m128i wk[CHAINS];
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++) {
            if (i >= 4)
                expand(w[c], i);
            wk[c] = _mm_add_epi32(w[c][i & 3], constants(4 * i));
            ROUNDS2(s[c], wk[c]);
        }
        if (i == 15 && !last_pair)
            break;
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++)
            ROUNDS2(s[c], _mm_shuffle_epi32(wk[c], 0x0e));
    }
}

static inline uint32_t step(const hwk_work *work, uint32_t nonce)
{
    const state midstate = pack(work->midstate), initial = pack(IV256);
    const __m128i tail = _mm_set_epi32(0, (int)work->tail[2], (int)work->tail[1],
                                       (int)work->tail[0]);
    state s[CHAINS];
    __m128i w[CHAINS][4];
    uint32_t candidates = 0;

#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        s[c] = midstate;
        w[c][0] = _mm_insert_epi32(tail, (int)__builtin_bswap32(nonce + (uint32_t)c), 3);
        w[c][1] = _mm_set_epi32(0, 0, 0, (int)0x80000000);
        w[c][2] = _mm_setzero_si128();
        w[c][3] = _mm_set_epi32(640, 0, 0, 0);
    }
    rounds(s, w, 1);
#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        __m128i abef = _mm_add_epi32(s[c].abef, midstate.abef);
        __m128i cdgh = _mm_add_epi32(s[c].cdgh, midstate.cdgh);
        /* Message order: a b c d, then e f g h, a and e lowest. */
        w[c][0] = _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh, abef), 0x1b);
        w[c][1] = _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh, abef), 0x1b);
        w[c][2] = _mm_set_epi32(0, 0, 0, (int)0x80000000);
        w[c][3] = _mm_set_epi32(256, 0, 0, 0);
        s[c] = initial;
    }
    rounds(s, w, 0);
#pragma GCC unroll 4
    for (int c = 0; c < CHAINS; c++) {
        uint32_t top = (uint32_t)_mm_cvtsi128_si32(s[c].abef) + IV256[7];
        candidates |= (uint32_t)(__builtin_bswap32(top) <= work->top) << c;
    }
    return candidates;
}

HWK_SCAN(hwk_scan_shani, CHAINS, step)
