/* What the kernels on x86's SHA extensions share: the unit's order of words, and the states that
 * its rounds begin from. */
#ifndef HWKIT_SHA_UNIT_H
#define HWKIT_SHA_UNIT_H

#include <immintrin.h>

#include "impl.h"

/* f (h) stands in the lowest word, a (c) in the highest. */
typedef struct {
    __m128i abef, cdgh;
} hwk_state;

static inline hwk_state hwk_pack(const uint32_t s[8])
{
    return (hwk_state){_mm_set_epi32((int)s[0], (int)s[1], (int)s[4], (int)s[5]),
                       _mm_set_epi32((int)s[2], (int)s[3], (int)s[6], (int)s[7])};
}

/* The first hash's block 2 after round 3, W3 being 0. The nonce, which is W3, then adds to a and e,
 * and to nothing else. */
static inline hwk_state hwk_start1(const uint32_t midstate[8], const uint32_t tail[3])
{
    uint32_t s[8];
    memcpy(s, midstate, sizeof s);
    for (int t = 0; t < 3; t++)
        hwk_round(s, K256[t] + tail[t]);
    hwk_round(s, K256[3]);
    return hwk_pack(s);
}

/* The second hash after round 0, W0 being 0. */
static inline hwk_state hwk_start2(void)
{
    uint32_t s[8];
    memcpy(s, IV256, sizeof s);
    hwk_round(s, K256[0]);
    return hwk_pack(s);
}

#endif
