/* Four nonces a step. SSE4.1 for its unsigned minimum, which makes the comparison. */
#include <smmintrin.h>

#include "impl.h"

typedef uint32_t vec __attribute__((vector_size(16)));
#define LANES 4
#define LANE_NUMBERS ((vec){0, 1, 2, 3})
#define AT_MOST(x, limit)                                                                          \
    (uint32_t)_mm_movemask_ps((__m128)_mm_cmpeq_epi32(                                             \
        _mm_min_epu32((__m128i)(x), (__m128i)(limit)), (__m128i)(x)))

#include "lanes.h"

HWK_SCAN(hwk_scan_sse41, CHAINS * LANES, hwk_work, *, hwk_step)
