/* Eight nonces a step. */
#include <immintrin.h>

#include "impl.h"

typedef uint32_t vec __attribute__((vector_size(32)));
#define LANES 8
#define LANE_NUMBERS ((vec){0, 1, 2, 3, 4, 5, 6, 7})
#define AT_MOST(x, limit)                                                                          \
    (uint32_t)_mm256_movemask_ps((__m256)_mm256_cmpeq_epi32(                                       \
        _mm256_min_epu32((__m256i)(x), (__m256i)(limit)), (__m256i)(x)))

#include "lanes.h"

HWK_SCAN(hwk_scan_avx2, CHAINS * LANES, hwk_work, *, hwk_step)
