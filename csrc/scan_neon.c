/* Four nonces a step, on any aarch64. A rotate is a shift and a shift that inserts into it. */
#include <arm_neon.h>

#include "impl.h"

typedef uint32x4_t vec;
#define LANES 4
#define LANE_NUMBERS ((vec){0, 1, 2, 3})
#define ROTR(x, n) vsriq_n_u32(vshlq_n_u32(x, 32 - (n)), x, n)
#define CHOOSE(e, f, g) vbslq_u32(e, f, g)
#define AT_MOST(x, limit) vaddvq_u32(vcleq_u32(x, limit) & (vec){1, 2, 4, 8})

#include "lanes.h"

HWK_SCAN(hwk_scan_neon, CHAINS * LANES, hwk_work, *, hwk_step)
