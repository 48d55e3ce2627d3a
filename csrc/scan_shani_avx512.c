/* Sixteen hashes a step, the work of each split between two units: AVX-512 computes the message
 * schedules, the SHA extensions do the rounds. Alone the first would be held up by its rounds, the
 * second by its schedule. */
#include <stddef.h>

#include "sha_unit.h"

enum { BATCH = 16 };

/* What all lanes share, by number of word. Of a known word K + W stands here, of a sum in the
 * schedule what is known of it. */
struct constants {
    uint32_t known1[18], known2[16];
    uint32_t k[64];
    uint32_t part1[34 - 16], part2[32 - 16]; /* from W16 on */
    uint32_t midstate[8];
    hwk_state start1, start2;
};

/* What the phases hand to each other. */
struct scratch {
    __m512i wk1[23][2], wk2[27][2]; /* K + W of two rounds side by side, for each lane */
    __m512i abef[4], cdgh[4];       /* the first hash, before the midstate is added */
    __m512i last[4];                /* the second hash's a, b, e, f after round 60 */
    _Alignas(64) uint32_t w0[BATCH], w3[BATCH], next_w3[BATCH];
    uint32_t midstates[8][BATCH];   /* these two for versions only: each lane has its own */
    hwk_state starts[BATCH];
};

#define FIELD(type, name) [name] "i"(offsetof(struct type, name))
#define OFFSETS                                                                                    \
    FIELD(constants, known1), FIELD(constants, known2), FIELD(constants, k),                       \
        FIELD(constants, part1), FIELD(constants, part2), FIELD(constants, midstate),              \
        FIELD(constants, start1), FIELD(constants, start2), FIELD(scratch, wk1),                   \
        FIELD(scratch, wk2), FIELD(scratch, abef), FIELD(scratch, cdgh), FIELD(scratch, last),     \
        FIELD(scratch, w0), FIELD(scratch, w3), FIELD(scratch, next_w3),                           \
        FIELD(scratch, midstates), FIELD(scratch, starts)
#define REGISTERS                                                                                  \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",  \
        "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30",  \
        "xmm31"

#include "shani_avx512.inc"

static struct constants constants_of(const hwk_work *work)
{
    struct constants c = {0};
    for (int t = 0; t < 18; t++)
        c.known1[t] = K256[t] + work->first.word[t];
    for (int t = 0; t < 16; t++)
        c.known2[t] = K256[t] + work->second.word[t];
    memcpy(c.k, K256, sizeof c.k);
    memcpy(c.part1, work->first.word + 16, sizeof c.part1);
    memcpy(c.part2, work->second.word + 16, sizeof c.part2);
    memcpy(c.midstate, work->midstate, sizeof c.midstate);
    c.start1 = hwk_pack(work->first.start);
    c.start2 = hwk_pack(work->second.start);
    return c;
}

static inline __m512i byte_swapped(__m512i x)
{
    const __m512i odd = _mm512_set1_epi32((int)0xff00ff00);
    return _mm512_ternarylogic_epi32(odd, _mm512_ror_epi32(x, 8), _mm512_ror_epi32(x, 24), 0xca);
}

static inline void put_words(uint32_t w3[BATCH], uint64_t nonce)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i nonces = _mm512_add_epi32(_mm512_set1_epi32((int)(uint32_t)nonce), lanes);
    _mm512_store_si512(w3, byte_swapped(nonces));
}

/* A bit a lane: may its hash be a hit? e after round 60 becomes h after round 63. */
static inline uint32_t candidates(const struct scratch *s, uint32_t top)
{
    uint32_t found = 0;
    for (int row = 0; row < 4; row++) {
        __m512i word = byte_swapped(_mm512_add_epi32(s->last[row],
                                                     _mm512_set1_epi32((int)IV256[7])));
        /* In each 16 bytes e is the second word; row r holds lanes r, r + 4, r + 8, r + 12. */
        uint32_t bits = _mm512_mask_cmple_epu32_mask(0x2222, word,
                                                     _mm512_set1_epi32((int)top));
        found |= bits >> 1 << row;
    }
    return found;
}

uint64_t hwk_scan_shani_avx512(const uint8_t header[80], const uint8_t target[32], uint64_t first,
                               uint64_t count, uint32_t *hits, uint32_t capacity, uint32_t *found)
{
    const hwk_work work = hwk_prepare(header, target);
    const struct constants c = constants_of(&work);
    struct scratch s;
    memset(&s, 0, sizeof s);
    *found = 0;
    put_words(s.next_w3, first);
    schedule_1_alone(&s, &c, NULL);
    /* Three batches are under way: after the first phase of a turn the rounds of the batch two
     * before have ended. */
    for (uint64_t done = 0; done < count + 2 * BATCH; done += BATCH) {
        memcpy(s.w3, s.next_w3, sizeof s.w3);
        rounds_1_and_schedule_2(&s, &c, NULL);
        uint32_t lanes = done < 2 * BATCH ? 0 : candidates(&s, work.top);
        uint64_t answered = done - 2 * BATCH;
        if (lanes != 0
            && !hwk_list(&work, lanes, first, count, &answered, hits, capacity, found))
            return answered;
        put_words(s.next_w3, first + done + BATCH);
        rounds_2_and_schedule_1(&s, &c, NULL);
    }
    return count;
}

uint64_t hwk_versions_shani_avx512(const uint8_t header[80], const uint8_t target[32],
                                        const uint32_t versions[16], uint64_t first,
                                        uint64_t count, uint32_t *nonces, uint8_t *places,
                                        uint32_t capacity, uint32_t *found)
{
    hwk_work works[BATCH];
    struct scratch s;
    hwk_prepare_versions(works, header, target, versions);
    const struct constants c = constants_of(works);
    memset(&s, 0, sizeof s);
    for (int v = 0; v < BATCH; v++) {
        s.starts[v] = hwk_pack(works[v].first.start);
        for (int word = 0; word < 8; word++)
            s.midstates[word][v] = works[v].midstate[word];
    }
    *found = 0;
    /* A batch is one nonce under all versions; sixteen nonces' schedules are made at once. */
    for (uint64_t done = 0; done < count + 2; done++) {
        const unsigned lane = done % BATCH;
        if (lane == 0) {
            put_words(s.next_w3, first + done);
            schedule_1_alone(&s, &c, NULL);
        }
        s.w3[0] = __builtin_bswap32((uint32_t)(first + done));
        rounds_1_of_versions_and_schedule_2(
            &s, &c, (char *)s.wk1 + 64 * (lane >> 1 & 1) + 16 * (lane >> 2) + 8 * (lane & 1));
        uint32_t lanes = done < 2 ? 0 : candidates(&s, works->top);
        if (lanes != 0
            && !hwk_list_versions(works, lanes, (uint32_t)(first + done - 2), nonces, places,
                                  capacity, found))
            return done - 2;
        rounds_2_alone(&s, &c, NULL);
    }
    return count;
}
