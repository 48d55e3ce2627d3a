/* SHA256d over the nonces of a header, in OpenCL C 1.2. One work item hashes WIDTH nonces side by
 * side; with SHIFTS a rotation is two shifts, for runtimes whose rotate() is slow. With MULTIPLY an
 * addition is x * one + y: NVIDIA's multiplier is a pipe of its own (sm_70 to sm_90), else idle here.
 * That `one` is 1 is not for the compiler to know, so it is an argument.
 *
 * What no nonce changes is the host's work (hwkit/hashers/hoist.py) and comes as arguments: word
 * numbers, letters and sums are those of FIPS 180-4, 6.2.2, for the header's second block. */

#if WIDTH == 1
typedef uint vec;
#define LANE_NUMBERS 0
#define ANY(x) (x)
#define PUSH_EACH(x) PUSH(0, x)
#else
#define PASTE(a, b) a##b
#define VECTOR(width) PASTE(uint, width)
typedef VECTOR(WIDTH) vec;
#define ANY(x) any(x)
#define PUSH4(x, n) PUSH(n, (x).s0) PUSH(n + 1, (x).s1) PUSH(n + 2, (x).s2) PUSH(n + 3, (x).s3)
#define PUSH8(x, n) PUSH4((x).lo, n) PUSH4((x).hi, n + 4)
#if WIDTH == 4
#define LANE_NUMBERS (vec)(0, 1, 2, 3)
#define PUSH_EACH(x) PUSH4(x, 0)
#elif WIDTH == 8
#define LANE_NUMBERS (vec)(0, 1, 2, 3, 4, 5, 6, 7)
#define PUSH_EACH(x) PUSH8(x, 0)
#elif WIDTH == 16
#define LANE_NUMBERS (vec)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define PUSH_EACH(x) PUSH8((x).lo, 0) PUSH8((x).hi, 8)
#endif
#endif

#define SHIFTED(x, n) ((x) >> (n) | (x) << (32 - (n)))
#ifdef SHIFTS
#define ROTR(x, n) SHIFTED(x, n)
#else
#define ROTR(x, n) rotate((x), (vec)(32 - (n)))
#endif

#ifdef MULTIPLY
#define ADD(x, y) ((x) * one + (y))
#else
#define ADD(x, y) ((x) + (y))
#endif
#define ADD3(x, y, z) ADD(ADD(x, y), z)
#define ADD4(x, y, z, t) ADD(ADD3(x, y, z), t)

#define BSWAP(x) ((ROTR(x, 8) & 0xff00ff00u) | (ROTR(x, 24) & 0x00ff00ffu))
#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))
#define MAJORITY(a, b, c) ((b) ^ (((a) ^ (b)) & ((b) ^ (c)))) /* b ^ c was a ^ b a round ago */
#define BIG_SIGMA0(x) (ROTR(x, 2) ^ ROTR(x, 13) ^ ROTR(x, 22))
#define BIG_SIGMA1(x) (ROTR(x, 6) ^ ROTR(x, 11) ^ ROTR(x, 25))
#define SMALL_SIGMA0(x) (ROTR(x, 7) ^ ROTR(x, 18) ^ (x) >> 3)
#define SMALL_SIGMA1(x) (ROTR(x, 17) ^ ROTR(x, 19) ^ (x) >> 10)
/* Of a literal: shifts, which every compiler folds. */
#define SIGMA0_OF(x) (SHIFTED(x, 7) ^ SHIFTED(x, 18) ^ (x) >> 3)
#define SIGMA1_OF(x) (SHIFTED(x, 17) ^ SHIFTED(x, 19) ^ (x) >> 10)

/* A round, given h + K + word. The state stays where it is and its letters move. */
#define ROUND(a, b, c, d, e, f, g, h, sum) \
    do { \
        const vec t1 = ADD3(sum, BIG_SIGMA1(e), CHOOSE(e, f, g)); \
        d = ADD(d, t1); \
        h = ADD3(t1, BIG_SIGMA0(a), MAJORITY(a, b, c)); \
    } while (0)
#define ROUND_K(a, b, c, d, e, f, g, h, k) ROUND(a, b, c, d, e, f, g, h, ADD(h, k))
#define ROUND_KW(a, b, c, d, e, f, g, h, k, w) ROUND(a, b, c, d, e, f, g, h, ADD3(h, k, w))
#define EXPAND(w0, w1, w9, w14) w0 = ADD4(w0, SMALL_SIGMA0(w1), w9, SMALL_SIGMA1(w14))

/* From here on both hashes are alike: w0 to w15 are words 16 to 31, of which two are done with. */
#define ROUNDS_18_TO_31 \
    ROUND_KW(g, h, a, b, c, d, e, f, 0x0fc19dc6u, w2); \
    ROUND_KW(f, g, h, a, b, c, d, e, 0x240ca1ccu, w3); \
    ROUND_KW(e, f, g, h, a, b, c, d, 0x2de92c6fu, w4); \
    ROUND_KW(d, e, f, g, h, a, b, c, 0x4a7484aau, w5); \
    ROUND_KW(c, d, e, f, g, h, a, b, 0x5cb0a9dcu, w6); \
    ROUND_KW(b, c, d, e, f, g, h, a, 0x76f988dau, w7); \
    ROUND_KW(a, b, c, d, e, f, g, h, 0x983e5152u, w8); \
    ROUND_KW(h, a, b, c, d, e, f, g, 0xa831c66du, w9); \
    ROUND_KW(g, h, a, b, c, d, e, f, 0xb00327c8u, w10); \
    ROUND_KW(f, g, h, a, b, c, d, e, 0xbf597fc7u, w11); \
    ROUND_KW(e, f, g, h, a, b, c, d, 0xc6e00bf3u, w12); \
    ROUND_KW(d, e, f, g, h, a, b, c, 0xd5a79147u, w13); \
    ROUND_KW(c, d, e, f, g, h, a, b, 0x06ca6351u, w14); \
    ROUND_KW(b, c, d, e, f, g, h, a, 0x14292967u, w15)

/* 16 rounds; each word but the first is expanded first. */
#define ROUNDS16(k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15) \
    ROUND_KW(a, b, c, d, e, f, g, h, k0, w0); \
    EXPAND(w1, w2, w10, w15); \
    ROUND_KW(h, a, b, c, d, e, f, g, k1, w1); \
    EXPAND(w2, w3, w11, w0); \
    ROUND_KW(g, h, a, b, c, d, e, f, k2, w2); \
    EXPAND(w3, w4, w12, w1); \
    ROUND_KW(f, g, h, a, b, c, d, e, k3, w3); \
    EXPAND(w4, w5, w13, w2); \
    ROUND_KW(e, f, g, h, a, b, c, d, k4, w4); \
    EXPAND(w5, w6, w14, w3); \
    ROUND_KW(d, e, f, g, h, a, b, c, k5, w5); \
    EXPAND(w6, w7, w15, w4); \
    ROUND_KW(c, d, e, f, g, h, a, b, k6, w6); \
    EXPAND(w7, w8, w0, w5); \
    ROUND_KW(b, c, d, e, f, g, h, a, k7, w7); \
    EXPAND(w8, w9, w1, w6); \
    ROUND_KW(a, b, c, d, e, f, g, h, k8, w8); \
    EXPAND(w9, w10, w2, w7); \
    ROUND_KW(h, a, b, c, d, e, f, g, k9, w9); \
    EXPAND(w10, w11, w3, w8); \
    ROUND_KW(g, h, a, b, c, d, e, f, k10, w10); \
    EXPAND(w11, w12, w4, w9); \
    ROUND_KW(f, g, h, a, b, c, d, e, k11, w11); \
    EXPAND(w12, w13, w5, w10); \
    ROUND_KW(e, f, g, h, a, b, c, d, k12, w12); \
    EXPAND(w13, w14, w6, w11); \
    ROUND_KW(d, e, f, g, h, a, b, c, k13, w13); \
    EXPAND(w14, w15, w7, w12); \
    ROUND_KW(c, d, e, f, g, h, a, b, k14, w14); \
    EXPAND(w15, w0, w8, w13); \
    ROUND_KW(b, c, d, e, f, g, h, a, k15, w15)
#define ROUNDS_32_TO_47 \
    ROUNDS16(0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, \
             0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, \
             0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u)
#define ROUNDS_48_TO_63 \
    ROUNDS16(0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, \
             0x5b9cca4fu, 0x682e6ff3u, 0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, \
             0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u)

/* Puts the nonces whose hash's top word is at most `top` into found[1] to found[capacity], in no
 * order; found[0] counts them, also those for which there was no room. */
__kernel void scan(const uint midstate_a, const uint midstate_b, const uint midstate_c,
                   const uint midstate_d, const uint midstate_e, const uint midstate_f,
                   const uint midstate_g, const uint midstate_h, const uint start_a,
                   const uint start_b, const uint start_c, const uint start_d, const uint start_e,
                   const uint start_f, const uint start_g, const uint sum4, const uint sum5,
                   const uint sum6, const uint sum16, const uint sum17, const uint word16,
                   const uint word17, const uint known18, const uint known19, const uint known31,
                   const uint known32, const uint one, const uint top, const uint first,
                   const uint count, const uint capacity, __global uint *found)
{
    const uint place = (uint)get_global_id(0) * WIDTH;
    const vec nonce = BSWAP((vec)(first + place) + LANE_NUMBERS);

    /* As round 3 leaves them. */
    vec e = ADD(nonce, start_a), f = start_b, g = start_c, h = start_d;
    vec a = ADD(nonce, start_e), b = start_f, c = start_g, d;

    ROUND(e, f, g, h, a, b, c, d, sum4);
    ROUND(d, e, f, g, h, a, b, c, sum5);
    ROUND(c, d, e, f, g, h, a, b, sum6);
    ROUND_K(b, c, d, e, f, g, h, a, 0xab1c5ed5u);
    ROUND_K(a, b, c, d, e, f, g, h, 0xd807aa98u);
    ROUND_K(h, a, b, c, d, e, f, g, 0x12835b01u);
    ROUND_K(g, h, a, b, c, d, e, f, 0x243185beu);
    ROUND_K(f, g, h, a, b, c, d, e, 0x550c7dc3u);
    ROUND_K(e, f, g, h, a, b, c, d, 0x72be5d74u);
    ROUND_K(d, e, f, g, h, a, b, c, 0x80deb1feu);
    ROUND_K(c, d, e, f, g, h, a, b, 0x9bdc06a7u);
    ROUND_K(b, c, d, e, f, g, h, a, 0xc19bf174u + 640u); /* word 15: 80 bytes are 640 bits */
    ROUND_K(a, b, c, d, e, f, g, h, sum16);
    ROUND_K(h, a, b, c, d, e, f, g, sum17);

    /* Words 16 to 33: the terms that stay have been added up, those that are zero are left out. */
    vec w2 = ADD(SMALL_SIGMA0(nonce), known18);
    vec w3 = ADD(nonce, known19);
    vec w4 = ADD(SMALL_SIGMA1(w2), 0x80000000u);
    vec w5 = SMALL_SIGMA1(w3);
    vec w6 = ADD(SMALL_SIGMA1(w4), 640u);
    vec w7 = ADD(SMALL_SIGMA1(w5), word16);
    vec w8 = ADD(SMALL_SIGMA1(w6), word17);
    vec w9 = ADD(SMALL_SIGMA1(w7), w2);
    vec w10 = ADD(SMALL_SIGMA1(w8), w3);
    vec w11 = ADD(SMALL_SIGMA1(w9), w4);
    vec w12 = ADD(SMALL_SIGMA1(w10), w5);
    vec w13 = ADD(SMALL_SIGMA1(w11), w6);
    vec w14 = ADD3(SMALL_SIGMA1(w12), w7, SIGMA0_OF(640u));
    vec w15 = ADD3(SMALL_SIGMA1(w13), w8, known31);
    ROUNDS_18_TO_31;
    vec w0 = ADD3(SMALL_SIGMA1(w14), w9, known32), w1 = word17;
    ROUNDS_32_TO_47;
    EXPAND(w0, w1, w9, w14);
    ROUNDS_48_TO_63;

    w0 = ADD(a, midstate_a);
    w1 = ADD(b, midstate_b);
    w2 = ADD(c, midstate_c);
    w3 = ADD(d, midstate_d);
    w4 = ADD(e, midstate_e);
    w5 = ADD(f, midstate_f);
    w6 = ADD(g, midstate_g);
    w7 = ADD(h, midstate_h);

    /* The second hash, of the first one's 32 bytes: round 0 of the initial state is two sums. */
    h = ADD(w0, 0xfc08884du), a = 0x6a09e667u, b = 0xbb67ae85u, c = 0x3c6ef372u;
    d = ADD(w0, 0x98c7e2a2u), e = 0x510e527fu, f = 0x9b05688cu, g = 0x1f83d9abu;
    ROUND(h, a, b, c, d, e, f, g, ADD(w1, 0x1f83d9abu + 0x71374491u));
    ROUND(g, h, a, b, c, d, e, f, ADD(w2, 0x9b05688cu + 0xb5c0fbcfu));
    ROUND(f, g, h, a, b, c, d, e, ADD(w3, 0x510e527fu + 0xe9b5dba5u));
    ROUND_KW(e, f, g, h, a, b, c, d, 0x3956c25bu, w4);
    ROUND_KW(d, e, f, g, h, a, b, c, 0x59f111f1u, w5);
    ROUND_KW(c, d, e, f, g, h, a, b, 0x923f82a4u, w6);
    ROUND_KW(b, c, d, e, f, g, h, a, 0xab1c5ed5u, w7);
    ROUND_K(a, b, c, d, e, f, g, h, 0xd807aa98u + 0x80000000u);
    ROUND_K(h, a, b, c, d, e, f, g, 0x12835b01u);
    ROUND_K(g, h, a, b, c, d, e, f, 0x243185beu);
    ROUND_K(f, g, h, a, b, c, d, e, 0x550c7dc3u);
    ROUND_K(e, f, g, h, a, b, c, d, 0x72be5d74u);
    ROUND_K(d, e, f, g, h, a, b, c, 0x80deb1feu);
    ROUND_K(c, d, e, f, g, h, a, b, 0x9bdc06a7u);
    ROUND_K(b, c, d, e, f, g, h, a, 0xc19bf174u + 256u); /* word 15: 32 bytes are 256 bits */

    w0 = ADD(w0, SMALL_SIGMA0(w1));
    w1 = ADD3(w1, SMALL_SIGMA0(w2), SIGMA1_OF(256u));
    w2 = ADD3(w2, SMALL_SIGMA0(w3), SMALL_SIGMA1(w0));
    w3 = ADD3(w3, SMALL_SIGMA0(w4), SMALL_SIGMA1(w1));
    w4 = ADD3(w4, SMALL_SIGMA0(w5), SMALL_SIGMA1(w2));
    w5 = ADD3(w5, SMALL_SIGMA0(w6), SMALL_SIGMA1(w3));
    w6 = ADD4(w6, SMALL_SIGMA0(w7), SMALL_SIGMA1(w4), 256u);
    w7 = ADD4(w7, SIGMA0_OF(0x80000000u), SMALL_SIGMA1(w5), w0);
    w8 = ADD3(SMALL_SIGMA1(w6), w1, 0x80000000u);
    w9 = ADD(SMALL_SIGMA1(w7), w2);
    w10 = ADD(SMALL_SIGMA1(w8), w3);
    w11 = ADD(SMALL_SIGMA1(w9), w4);
    w12 = ADD(SMALL_SIGMA1(w10), w5);
    w13 = ADD(SMALL_SIGMA1(w11), w6);
    w14 = ADD3(SMALL_SIGMA1(w12), w7, SIGMA0_OF(256u));
    w15 = ADD4(SMALL_SIGMA1(w13), w8, SMALL_SIGMA0(w0), 256u);
    ROUND_KW(a, b, c, d, e, f, g, h, 0xe49b69c1u, w0);
    ROUND_KW(h, a, b, c, d, e, f, g, 0xefbe4786u, w1);
    ROUNDS_18_TO_31;
    EXPAND(w0, w1, w9, w14);
    ROUNDS_32_TO_47;
    EXPAND(w0, w1, w9, w14);
    ROUNDS_48_TO_63;

    /* What round 60 leaves in e is h after round 63, the hash's top word but for the initial state:
     * no other word is looked at, so the compiler drops what only they would have needed. */
    h = ADD(h, 0x5be0cd19u);
#define PUSH(lane, may_be) \
    if ((may_be) && place + (lane) < count) { \
        const uint number = atomic_inc(found); \
        if (number < capacity) \
            found[1 + number] = first + place + (lane); \
    }
    if (ANY(BSWAP(h) <= (vec)top)) {
        PUSH_EACH(BSWAP(h) <= (vec)top)
    }
}
