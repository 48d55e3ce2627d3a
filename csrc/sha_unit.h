/* What the kernels on x86's SHA extensions share: the unit's order of words. */
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

#endif
