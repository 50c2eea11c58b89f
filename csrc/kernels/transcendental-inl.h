// exp and log over lanes. Relative error of both below 1.5 ulp on the ranges stated.
//
// exp(x) = 2^n (1 + r + r^2 q(r)) with n = round(x / ln 2) and |r| <= ln(2) / 2, where q
// interpolates (exp(r) - 1 - r) / r^2 at Chebyshev nodes: 2e-17 (float64) and 1e-8 (float32)
// relative.

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<double> {
    static constexpr double ln2_high = 0x1.62e42fee00000p-1;
    static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double smallest = -707.0;  // 2^n stays normal
    static constexpr int degree = 9;
    static constexpr double q[degree + 1] = {0.50000000000000010221,     0.16666666666666667453,
                                             0.041666666666624127873,    0.0083333333333300618325,
                                             0.0013888888917213716901,   0.00019841269863053616878,
                                             0.000024801521295954375131, 2.7557268459997064772e-6,
                                             2.7620088445409748161e-7,   2.5100385495510319078e-8};
};

template <>
struct ExpConstants<float> {
    static constexpr float ln2_high = 0x1.62e400p-1f;
    static constexpr float ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float smallest = -86.0f;
    static constexpr int degree = 4;
    static constexpr float q[degree + 1] = {0.5f, 0.166665769897f, 0.0416665546172f,
                                            0.00836317905272f, 0.00139261835877f};
};

// exp(x) for x <= 0; zero below `cutoff`, which is at least ExpConstants::smallest. NaN stays NaN.
template <class T>
Lanes<T> exp_nonpositive(Lanes<T> x, Lanes<T> cutoff) {
    using V = Lanes<T>;
    using C = ExpConstants<T>;
    const auto below = less(x, cutoff);
    const V y = max(cutoff, x);  // in this order a NaN in x survives
    const V n = round(y * V::set(T(1.4426950408889634074)));
    const V r = fnma(n, V::set(C::ln2_low), fnma(n, V::set(C::ln2_high), y));
    V q = V::set(C::q[C::degree]);
    for (int i = C::degree - 1; i >= 0; --i) q = fma(q, r, V::set(C::q[i]));
    const V p = fma(q, r * r, r) + V::set(T(1));
    return V::select(below, V::zero(), scale(p, n));
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
