/* Text that every scan shares. Static inline only: each instruction set's file compiles its own
 * copy, so no copy made with wider instructions can be linked into code that must do without. */
#ifndef HWKIT_IMPL_H
#define HWKIT_IMPL_H

#include <stdbool.h>
#include <string.h>

#include "hwkit.h"

hwk_scan_fn hwk_scan_portable, hwk_scan_sse41, hwk_scan_avx2, hwk_scan_avx512, hwk_scan_shani,
    hwk_scan_shani_avx512, hwk_scan_neon, hwk_scan_armv8_sha2;
hwk_scan_versions_fn hwk_versions_avx512, hwk_versions_shani_avx512;

/* FIPS 180-4, 4.2.2 and 5.3.3. */
static const uint32_t K256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const uint32_t IV256[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* A bit a word of the schedule. The nonce is word 3 of the header's last block; the second hash's
 * block begins with eight words of the first hash. */
#define HWK_FIRST_MOVES (~(uint64_t)0 << 18 | 1 << 3) /* the nonce moves these words */
#define HWK_SECOND_MOVES (~(uint64_t)0 << 16 | 0xff)
#define HWK_FIRST_STAYS ((uint64_t)(7 << 15 | 1 << 4 | 7)) /* and these stay; the others are zero */
#define HWK_SECOND_STAYS ((uint64_t)(1 << 15 | 1 << 8))

/* What is known of a compression before the nonce is. */
typedef struct {
    uint32_t start[8];  /* the state after the round that takes the first word that moves, were this
                         * word zero: it only adds to a and e */
    uint32_t word[34];  /* a word that stays; else the sum of its terms that stay: none past 33 */
    uint32_t round[64]; /* what a round adds: K, the word if it stays, and h while that stays */
} hwk_known;

/* What a scan knows before it has seen a nonce. */
typedef struct {
    uint32_t midstate[8]; /* after header bytes 0 to 63 */
    uint32_t tail[3];     /* the rest but for the nonce: end of the merkle root, nTime, nBits */
    uint32_t top;         /* the target's most significant word: what a step compares with */
    uint8_t target[32];   /* little-endian, as a hash is */
    hwk_known first;      /* the hash of the header, from the midstate on */
    hwk_known second;     /* the hash of this hash */
} hwk_work;

static inline uint32_t hwk_rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static inline uint32_t hwk_load_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t hwk_load_le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline void hwk_store_be(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 24), p[1] = (uint8_t)(x >> 16), p[2] = (uint8_t)(x >> 8), p[3] = (uint8_t)x;
}

static inline uint32_t hwk_sigma0(uint32_t x)
{
    return hwk_rotr(x, 7) ^ hwk_rotr(x, 18) ^ x >> 3;
}

static inline uint32_t hwk_sigma1(uint32_t x)
{
    return hwk_rotr(x, 17) ^ hwk_rotr(x, 19) ^ x >> 10;
}

/* FIPS 180-4, 6.2.2, written for reading. */
static inline void hwk_round(uint32_t s[8], uint32_t constant, uint32_t word)
{
    uint32_t a = s[0], e = s[4];
    uint32_t t1 = s[7] + (hwk_rotr(e, 6) ^ hwk_rotr(e, 11) ^ hwk_rotr(e, 25))
                  + ((e & s[5]) ^ (~e & s[6])) + constant + word;
    uint32_t t2 = (hwk_rotr(a, 2) ^ hwk_rotr(a, 13) ^ hwk_rotr(a, 22))
                  + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
}

static inline void hwk_compress(uint32_t state[8], const uint32_t block[16])
{
    uint32_t w[64], s[8];
    for (int t = 0; t < 16; t++)
        w[t] = block[t];
    for (int t = 16; t < 64; t++)
        w[t] = hwk_sigma1(w[t - 2]) + w[t - 7] + hwk_sigma0(w[t - 15]) + w[t - 16];
    memcpy(s, state, sizeof s);
    for (int t = 0; t < 64; t++)
        hwk_round(s, K256[t], w[t]);
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

/* `block` has zeros for the words that move. */
static inline hwk_known hwk_know(const uint32_t state[8], const uint32_t block[16], uint64_t moves)
{
    const int first = __builtin_ctzll(moves);
    hwk_known known;
    uint32_t stays[34] = {0}; /* zero where the word moves */
    memcpy(stays, block, 16 * sizeof *block);
    memcpy(known.word, block, 16 * sizeof *block);
    for (int t = 16; t < 34; t++) {
        known.word[t] =
            hwk_sigma1(stays[t - 2]) + stays[t - 7] + hwk_sigma0(stays[t - 15]) + stays[t - 16];
        stays[t] = moves >> t & 1 ? 0 : known.word[t];
    }
    memcpy(known.start, state, sizeof known.start);
    for (int t = 0; t <= first; t++)
        hwk_round(known.start, K256[t], block[t]);
    for (int t = 0; t < 64; t++)
        known.round[t] = K256[t] + (t < 34 ? stays[t] : 0);
    for (int i = 1; i < 4; i++)
        known.round[first + i] += known.start[8 - i];
    return known;
}

static inline hwk_work hwk_prepare(const uint8_t header[80], const uint8_t target[32])
{
    hwk_work work;
    uint32_t block[16];
    for (int i = 0; i < 16; i++)
        block[i] = hwk_load_be(header + 4 * i);
    memcpy(work.midstate, IV256, sizeof IV256);
    hwk_compress(work.midstate, block);
    for (int i = 0; i < 3; i++)
        work.tail[i] = hwk_load_be(header + 64 + 4 * i);
    work.top = hwk_load_le(target + 28);
    memcpy(work.target, target, 32);
    const uint32_t *tail = work.tail;
    const uint32_t first[16] = {tail[0], tail[1], tail[2], [4] = 0x80000000, [15] = 640};
    const uint32_t second[16] = {[8] = 0x80000000, [15] = 256};
    work.first = hwk_know(work.midstate, first, HWK_FIRST_MOVES);
    work.second = hwk_know(IV256, second, HWK_SECOND_MOVES);
    return work;
}

/* The same header under sixteen versions: works that differ in their midstates only. */
static inline void hwk_prepare_versions(hwk_work works[16], const uint8_t header[80],
                                        const uint8_t target[32], const uint32_t versions[16])
{
    uint8_t rolled[80];
    memcpy(rolled, header, sizeof rolled);
    for (int v = 0; v < 16; v++) {
        for (int i = 0; i < 4; i++)
            rolled[i] = (uint8_t)(versions[v] >> 8 * i);
        works[v] = hwk_prepare(rolled, target);
    }
}

/* Is the whole hash at most the target? A step has compared the top word only; this decides. */
static inline bool hwk_meets(const hwk_work *work, uint32_t nonce)
{
    uint32_t first[8], second[8];
    uint32_t block[16] = {work->tail[0], work->tail[1], work->tail[2], __builtin_bswap32(nonce),
                          0x80000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 640};
    memcpy(first, work->midstate, sizeof first);
    hwk_compress(first, block);
    memcpy(block, first, sizeof first);
    memset(block + 8, 0, 8 * sizeof *block);
    block[8] = 0x80000000, block[15] = 256;
    memcpy(second, IV256, sizeof second);
    hwk_compress(second, block);
    for (int i = 7; i >= 0; i--) {
        uint32_t hash = __builtin_bswap32(second[i]), limit = hwk_load_le(work->target + 4 * i);
        if (hash != limit)
            return hash < limit;
    }
    return true;
}

/* Checks what a step at `done` leaves for hits (a bit a lane) and lists them. Lanes past the end of
 * the range are computed and not looked at. False when the list was full: `done` then says how far
 * the scan has answered. */
static inline bool hwk_list(const hwk_work *work, uint32_t candidates, uint64_t first,
                            uint64_t count, uint64_t *done, uint32_t *hits, uint32_t capacity,
                            uint32_t *found)
{
    for (; candidates != 0; candidates &= candidates - 1) {
        uint64_t at = *done + (uint64_t)__builtin_ctz(candidates);
        if (at >= count)
            break;
        if (!hwk_meets(work, (uint32_t)(first + at)))
            continue;
        if (*found == capacity) {
            *done = at;
            return false;
        }
        hits[(*found)++] = (uint32_t)(first + at);
    }
    return true;
}

/* The same for one nonce under sixteen versions, a bit a version. False when the list was full: the
 * nonce's hits are taken back then, all of them. */
static inline bool hwk_list_versions(const hwk_work works[16], uint32_t candidates, uint32_t nonce,
                                     uint32_t *nonces, uint8_t *places, uint32_t capacity,
                                     uint32_t *found)
{
    const uint32_t before = *found;
    for (; candidates != 0; candidates &= candidates - 1) {
        int place = __builtin_ctz(candidates);
        if (!hwk_meets(&works[place], nonce))
            continue;
        if (*found == capacity) {
            *found = before;
            return false;
        }
        nonces[*found] = nonce;
        places[(*found)++] = (uint8_t)place;
    }
    return true;
}

/* The loop of a scan: STEP(&shared, nonce) answers for LANES nonces from `nonce` on with a bit a
 * lane: may it be a hit? SHARED is what PREPARE(&work) makes once for all steps; with * for PREPARE
 * it is the work itself. */
#define HWK_SCAN(NAME, LANES, SHARED, PREPARE, STEP)                                               \
    uint64_t NAME(const uint8_t header[80], const uint8_t target[32], uint64_t first,              \
                  uint64_t count, uint32_t *hits, uint32_t capacity, uint32_t *found)              \
    {                                                                                              \
        const hwk_work work = hwk_prepare(header, target);                                         \
        const SHARED shared = PREPARE(&work);                                                      \
        *found = 0;                                                                                \
        for (uint64_t done = 0; done < count; done += (LANES)) {                                   \
            uint32_t candidates = STEP(&shared, (uint32_t)(first + done));                         \
            if (candidates != 0                                                                    \
                && !hwk_list(&work, candidates, first, count, &done, hits, capacity, found))       \
                return done;                                                                       \
        }                                                                                          \
        return count;                                                                              \
    }

#endif
