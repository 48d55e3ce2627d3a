/* Twice sixteen nonces a step; rotates and three-input logic are single instructions here. What one
 * chain has ready to run does not fill the 512-bit units of a core; what two have does. */
#include <immintrin.h>

#include "impl.h"

typedef uint32_t vec __attribute__((vector_size(64)));
#define LANES 16
#define CHAINS 2
#define VERSIONS
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

HWK_SCAN(hwk_scan_avx512, CHAINS * LANES, hwk_work, *, hwk_step)

uint64_t hwk_versions_avx512(const uint8_t header[80], const uint8_t target[32],
                             const uint32_t versions[16], uint64_t first, uint64_t count,
                             uint32_t *nonces, uint8_t *places, uint32_t capacity, uint32_t *found)
{
    hwk_work works[LANES];
    hwk_versions each;
    uint32_t sums[64][LANES];
    hwk_prepare_versions(works, header, target, versions);
    for (int v = 0; v < LANES; v++)
        for (int i = 0; i < 8; i++) {
            each.midstate[i][v] = works[v].midstate[i];
            each.start[i][v] = works[v].first.start[i];
        }
    *found = 0;
    for (uint64_t done = 0; done < count; done += CHAINS) {
        if (done % LANES == 0)
            hwk_schedule(works, (uint32_t)(first + done), sums);
        uint32_t candidates = hwk_step_versions(works, &each, sums, (int)(done % LANES));
        for (uint64_t at = done; candidates != 0 && at < count; at++, candidates >>= LANES)
            if (!hwk_list_versions(works, candidates & 0xffff, (uint32_t)(first + at), nonces,
                                   places, capacity, found))
                return at;
    }
    return count;
}
