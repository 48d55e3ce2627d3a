/* Four nonces a step through the SHA extensions. One chain of sha256rnds2 waits four cycles for each
 * result; four chains fill the wait. Sixty of them a header: the first hash from round 4, the second
 * from round 1 to round 60. */
#include "sha_unit.h"

#define CHAINS 4
#define EACH_CHAIN for (int c = 0; c < CHAINS; c++)

/* What all chains share. */
typedef struct {
    uint32_t top;
    hwk_state midstate, start1, start2;
    __m128i k1[16], k2[15]; /* K of four rounds, from 4i on in the first hash, from 4i + 1 in the
                             * second; with W where that is known */
    __m128i tail;           /* W0 to W2 of block 2 */
    __m128i sum28;          /* W12 to W15 of block 2 and the small sigmas of W13 to W16 */
} shani_shared;

static inline shani_shared prepare(const hwk_work *work)
{
    shani_shared x;
    const uint32_t *w = work->first.word;
    x.top = work->top;
    x.midstate = hwk_pack(work->midstate);
    x.start1 = hwk_pack(work->first.start);
    x.start2 = hwk_pack(work->second.start);
    for (int i = 0; i < 16; i++)
        x.k1[i] = _mm_loadu_si128((const __m128i *)(K256 + 4 * i));
    for (int i = 1; i < 4; i++)
        x.k1[i] = _mm_add_epi32(x.k1[i], _mm_loadu_si128((const __m128i *)(w + 4 * i)));
    for (int i = 0; i < 15; i++)
        x.k2[i] = _mm_loadu_si128((const __m128i *)(K256 + 4 * i + 1));
    x.tail = _mm_set_epi32(0, (int)w[2], (int)w[1], (int)w[0]);
    x.sum28 = _mm_set_epi32((int)(w[15] + hwk_sigma0(w[16])), (int)hwk_sigma0(w[15]), 0, 0);
    return x;
}

/* Two rounds. The unit puts the new a, b, e, f over the old c, d, g, h: the two change names. */
#define ROUNDS2(s, wk)                                                                             \
    do {                                                                                           \
        __m128i next = _mm_sha256rnds2_epu32((s).cdgh, (s).abef, wk);                              \
        (s).cdgh = (s).abef;                                                                       \
        (s).abef = next;                                                                           \
    } while (0)

/* w is a ring of four vectors, four words each: RING(w, i) holds W[4i] to W[4i + 3], and what is
 * called `middle` W[4i - 7] to W[4i - 4]. */
#define RING(w, i) (w)[(i) & 3]
static inline __m128i middle(const __m128i w[4], int i)
{
    return _mm_alignr_epi8(RING(w, i + 3), RING(w, i + 2), 4);
}

/* W[4i] to W[4i + 3] in block 2: what is known of it is left out or put in. */
static inline __attribute__((always_inline)) void expand1(__m128i w[4], int i, const shani_shared *x)
{
    const __m128i first = _mm_set_epi32(0, 0, 0, (int)0x80000000); /* W4 */
    __m128i sum;
    switch (i) {
    case 4:
        sum = _mm_sha256msg1_epu32(RING(w, 0), RING(w, 1));
        break;
    case 5:
        sum = _mm_add_epi32(first, middle(w, i));
        break;
    case 6:
        sum = middle(w, i);
        break;
    case 7:
        sum = _mm_add_epi32(x->sum28, middle(w, i));
        break;
    default:
        sum = _mm_add_epi32(_mm_sha256msg1_epu32(RING(w, i), RING(w, i + 1)), middle(w, i));
    }
    RING(w, i) = _mm_sha256msg2_epu32(sum, RING(w, i + 3));
}

/* The same in the second hash. */
static inline __attribute__((always_inline)) void expand2(__m128i w[4], int i)
{
    __m128i sum;
    switch (i) {
    case 4:
        sum = _mm_sha256msg1_epu32(RING(w, 0), RING(w, 1));
        break;
    case 6:
        sum = _mm_add_epi32(RING(w, 2), middle(w, i)); /* the small sigmas of W9 to W12 are 0 */
        break;
    default:
        sum = _mm_add_epi32(_mm_sha256msg1_epu32(RING(w, i), RING(w, i + 1)), middle(w, i));
    }
    RING(w, i) = _mm_sha256msg2_epu32(sum, RING(w, i + 3));
}

/* A word in the places of a and e. */
static inline __m128i to_a_and_e(__m128i words)
{
    return _mm_and_si128(_mm_shuffle_epi32(words, 0), _mm_set_epi32(-1, 0, -1, 0));
}

static inline uint32_t step(const shani_shared *x, uint32_t nonce)
{
    hwk_state s[CHAINS];
    __m128i w[CHAINS][4], wk[CHAINS];
    uint32_t candidates = 0;

#pragma GCC unroll 4
    EACH_CHAIN {
        const int word = (int)__builtin_bswap32(nonce + (uint32_t)c);
        s[c].abef = _mm_add_epi32(x->start1.abef, to_a_and_e(_mm_cvtsi32_si128(word)));
        s[c].cdgh = x->start1.cdgh;
        w[c][0] = _mm_insert_epi32(x->tail, word, 3);
        w[c][1] = _mm_set_epi32(0, 0, 0, (int)0x80000000);
        w[c][2] = _mm_setzero_si128();
        w[c][3] = _mm_set_epi32(640, 0, 0, 0);
    }
#pragma GCC unroll 15
    for (int i = 1; i < 16; i++) {
#pragma GCC unroll 4
        EACH_CHAIN {
            if (i >= 4)
                expand1(w[c], i, x);
            wk[c] = i < 4 ? x->k1[i] : _mm_add_epi32(RING(w[c], i), x->k1[i]);
            ROUNDS2(s[c], wk[c]);
        }
#pragma GCC unroll 4
        EACH_CHAIN
            ROUNDS2(s[c], _mm_shuffle_epi32(wk[c], 0x0e));
    }

#pragma GCC unroll 4
    EACH_CHAIN {
        __m128i abef = _mm_add_epi32(s[c].abef, x->midstate.abef);
        __m128i cdgh = _mm_add_epi32(s[c].cdgh, x->midstate.cdgh);
        /* Message order: a b c d, then e f g h, a and e lowest. */
        w[c][0] = _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh, abef), 0x1b);
        w[c][1] = _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh, abef), 0x1b);
        w[c][2] = _mm_set_epi32(0, 0, 0, (int)0x80000000);
        w[c][3] = _mm_set_epi32(256, 0, 0, 0);
        s[c].abef = _mm_add_epi32(x->start2.abef, to_a_and_e(w[c][0]));
        s[c].cdgh = x->start2.cdgh;
    }
#pragma GCC unroll 15
    for (int i = 0; i < 15; i++) {
#pragma GCC unroll 4
        EACH_CHAIN {
            if (i >= 3)
                expand2(w[c], i + 1);
            /* W[4i + 1] to W[4i + 4] */
            wk[c] = _mm_add_epi32(_mm_alignr_epi8(RING(w[c], i + 1), RING(w[c], i), 4), x->k2[i]);
            ROUNDS2(s[c], wk[c]);
        }
#pragma GCC unroll 4
        EACH_CHAIN
            ROUNDS2(s[c], _mm_shuffle_epi32(wk[c], 0x0e));
    }
#pragma GCC unroll 4
    EACH_CHAIN {
        /* e after round 60 is h after round 63. */
        uint32_t top = (uint32_t)_mm_extract_epi32(s[c].abef, 1) + IV256[7];
        candidates |= (uint32_t)(__builtin_bswap32(top) <= x->top) << c;
    }
    return candidates;
}

HWK_SCAN(hwk_scan_shani, CHAINS, shani_shared, prepare, step)
