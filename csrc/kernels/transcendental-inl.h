// exp and log over lanes.
//
// Error: relative, below 1.5 ulp on the ranges stated, but for the exp of a rounded difference.
//
// Blocking: constants are fetched once for n vectors, whose chains of dependent operations overlap.
//
// exp(x) = 2^n (1 + r + r^2 q(r)) with n = round(x / ln 2) and |r| <= ln(2) / 2, where q
// interpolates (exp(r) - 1 - r) / r^2 at Chebyshev nodes: 2e-17 (float64) and 1e-8 (float32)
// relative.
//
// Where lanes look a value up among sixteen in registers, n is a multiple of 1/16 instead, 2^n is
// 2^floor(n) times an entry of the table, |r| <= ln(2) / 32, and five terms of the polynomial fall
// away (Tang 1989).

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<double> {
    static constexpr double ln2 = 0x1.62e42fefa39efp-1;
    static constexpr double ln2_high = 0x1.62e42fee00000p-1;
    static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double masked_below = -707.0;  // with a table; 2^n stays normal
    static constexpr double zero_at = -1023 * ln2;  // without: 2^n is zero
    static constexpr int degree = 9;
    static constexpr double q[degree + 1] = {0.50000000000000010221,     0.16666666666666667453,
                                             0.041666666666624127873,    0.0083333333333300618325,
                                             0.0013888888917213716901,   0.00019841269863053616878,
                                             0.000024801521295954375131, 2.7557268459997064772e-6,
                                             2.7620088445409748161e-7,   2.5100385495510319078e-8};
    static constexpr double sixteenths = 0x1.8p48;  // adding it rounds to a multiple of 1/16
    static constexpr double table[16] = {1.0,
                                         1.0442737824274138,
                                         1.0905077326652577,
                                         1.1387886347566917,
                                         1.1892071150027211,
                                         1.241857812073484,
                                         1.2968395546510097,
                                         1.3542555469368927,
                                         1.414213562373095,
                                         1.4768261459394993,
                                         1.5422108254079408,
                                         1.6104903319492543,
                                         1.6817928305074291,
                                         1.7562521603732995,
                                         1.8340080864093425,
                                         1.9152065613971473};
    static constexpr int table_degree = 5;  // (exp(r) - 1) / r
    static constexpr double table_q[table_degree + 1] = {
        1.0000000000000006408,   0.5000000000000000801,    0.16666666664208724166,
        0.041666666663594244326, 0.0083334730028811540937, 0.0013889063475567629718};
};

template <>
struct ExpConstants<float> {
    static constexpr float ln2 = 0x1.62e430p-1f;
    static constexpr float ln2_high = 0x1.62e400p-1f;
    static constexpr float ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float masked_below = -86.0f;
    static constexpr float zero_at = -127 * ln2;
    static constexpr int degree = 4;
    static constexpr float q[degree + 1] = {0.5f, 0.166665769897f, 0.0416665546172f,
                                            0.00836317905272f, 0.00139261835877f};
    static constexpr float sixteenths = 0x1.8p19f;
    static constexpr float table[16] = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f,
                                        1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                        1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                        1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
    static constexpr int table_degree = 2;
    static constexpr float table_q[table_degree + 1] = {1.0f, 0.5000146654f, 0.1666695997f};
};

// e_i = exp(x_i) for n vectors of x_i <= 0. It is zero where exp is below the smallest normal
// number, or a little above; NaN stays NaN. `rounded`: x is the rounded difference of larger
// numbers. ln(2) in one piece then adds no more than a third of that rounding; otherwise it comes
// in two pieces (Cody and Waite 1980).
template <class T, bool rounded, int n>
VBFAST_INLINED inline void exp_nonpositive(const Lanes<T>* x, Lanes<T>* e) {
    using V = Lanes<T>;
    using C = ExpConstants<T>;
    const V log2_e = V::set(T(1.4426950408889634074));
    const auto reduced = [](V a, V k) {
        if constexpr (rounded)
            return fnma(k, V::set(C::ln2), a);
        else
            return fnma(k, V::set(C::ln2_low), fnma(k, V::set(C::ln2_high), a));
    };
    if constexpr (V::has_lookup) {
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            const auto kept = not_less(x[i], V::set(C::masked_below));  // NaN is kept
            const V shifted = fma(x[i], log2_e, V::set(C::sixteenths));
            const V k = shifted - V::set(C::sixteenths);
            const V r = reduced(x[i], k);
            const V entry = V::lookup(C::table, shifted);
            V q = V::set(C::table_q[C::table_degree]);
            for (int j = C::table_degree - 1; j >= 0; --j) q = fma(q, r, V::set(C::table_q[j]));
            e[i] = scale_floor_where(kept, fma(entry * r, q, entry), k);
        }
    } else {
        V r[n], power[n], square[n], q[2][n];
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            // The power of two is zero at C::zero_at. In this order of arguments NaN is kept.
            const V kept = max(V::set(C::zero_at), x[i]);
            const V shifted = fma(kept, log2_e, V::set(V::integers));
            r[i] = reduced(kept, shifted - V::set(V::integers));
            power[i] = V::power_of_two(shifted);
            square[i] = r[i] * r[i];
            q[0][i] = V::set(C::q[C::degree - 1]);
            q[1][i] = V::set(C::q[C::degree]);
        }
        VBFAST_UNROLL(16)
        for (int j = C::degree - 2; j >= 0; --j) {
            constexpr int parity = C::degree % 2;
            V* half = q[j % 2 == parity];  // q[1] has the powers of the degree's parity
            VBFAST_UNROLL(8)
            for (int i = 0; i < n; ++i) half[i] = fma(half[i], square[i], V::set(C::q[j]));
        }
        constexpr int even = C::degree % 2 == 0;
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            const V p = fma(fma(q[!even][i], r[i], q[even][i]), square[i], r[i]);
            e[i] = fma(p, power[i], power[i]);
        }
    }
}

// The sum of n vectors, by pairs.
template <int n, class V>
V sum_of(const V* a) {
    if constexpr (n == 1)
        return a[0];
    else
        return sum_of<n / 2>(a) + sum_of<n - n / 2>(a + n / 2);
}

template <int n, class V>
V sum_of_products(const V* a, const V* b) {
    V sum = a[0] * b[0];
    for (int i = 1; i < n; ++i) sum = fma(a[i], b[i], sum);
    return sum;
}

// log(x) for normal positive finite x, after the classical scheme: with x = 2^e m, f = m - 1 and
// s = f / (2 + f), log(m) = f - s (f - R(s^2)), R an odd-power series of 2 atanh(s).
template <class T>
struct LogConstants;

template <>
struct LogConstants<double> {
    static constexpr int terms = 7;
    static constexpr double c[terms] = {6.666666666666735130e-01, 3.999999999940941908e-01,
                                        2.857142874366239149e-01, 2.222219843214978396e-01,
                                        1.818357216161805012e-01, 1.531383769920937332e-01,
                                        1.479819860511658591e-01};
};

template <>
struct LogConstants<float> {
    static constexpr int terms = 4;
    static constexpr float c[terms] = {0.66666662693f, 0.40000972152f, 0.28498786688f,
                                       0.24279078841f};
};

template <class T>
Lanes<T> log_positive(Lanes<T> x) {
    using V = Lanes<T>;
    using C = LogConstants<T>;
    V m = V::mantissa(x);
    V e = V::exponent(x);
    const auto large = less(V::set(T(1.41421356237309504880)), m);
    m = V::select(large, m * V::set(T(0.5)), m);
    e = V::select(large, e + V::set(T(1)), e);
    const V f = m - V::set(T(1));
    const V s = f / (f + V::set(T(2)));
    const V z = s * s;
    V series = V::set(C::c[C::terms - 1]);
    for (int i = C::terms - 2; i >= 0; --i) series = fma(series, z, V::set(C::c[i]));
    const V half_square = V::set(T(0.5)) * f * f;
    const V low = fma(s, fma(series, z, half_square), e * V::set(ExpConstants<T>::ln2_low));
    return fma(e, V::set(ExpConstants<T>::ln2_high), f - (half_square - low));
}
