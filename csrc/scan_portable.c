/* One nonce at a time, in plain C: runs everywhere. */
#include "impl.h"

typedef uint32_t vec;
#define LANES 1
#define LANE_NUMBERS 0
#define AT_MOST(x, limit) (uint32_t)((x) <= (limit))

#include "lanes.h"

HWK_SCAN(hwk_scan_portable, CHAINS * LANES, hwk_work, *, hwk_step)
