/* Twice sixteen nonces a step; rotates and three-input logic are single instructions here. What one
 * chain has ready to run does not fill the 512-bit units of a core; what two have does. */
#include <immintrin.h>

#include "impl.h"

typedef uint32_t vec __attribute__((vector_size(64)));
#define LANES 16
#define CHAINS 2
#define LANE_NUMBERS ((vec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#define ROTR(x, n) ((vec)_mm512_ror_epi32((__m512i)(x), n))
/* The immediate is the truth table, x the most significant index bit. */
#define LOGIC(x, y, z, table)                                                                      \
    ((vec)_mm512_ternarylogic_epi32((__m512i)(x), (__m512i)(y), (__m512i)(z), table))
#define CHOOSE(e, f, g) LOGIC(e, f, g, 0xca)
#define MAJORITY(a, b, c) LOGIC(a, b, c, 0xe8)
#define XOR3(x, y, z) LOGIC(x, y, z, 0x96)
#define AT_MOST(x, limit) (uint32_t)_mm512_cmple_epu32_mask((__m512i)(x), (__m512i)(limit))

#include "lanes.h"

HWK_SCAN(hwk_scan_avx512, CHAINS * LANES, hwk_step)
