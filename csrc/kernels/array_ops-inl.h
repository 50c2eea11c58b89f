// The reductions over lanes. Each has
//   observe   updates the references by one vector of elements,
//   add       adds a vector to the sums, about the references (zero where those are infinite),
//   rescale   moves float64 sums from one set of references to another,
//   finish    results of float64 states.
// A NaN is lost by the references but not by the sums. A reference of +inf is left to the caller.

template <class V>
constexpr unsigned all_lanes = (1u << V::width) - 1;

template <class T>
constexpr T infinity = static_cast<T>(__builtin_inf());

template <class V>
V or_zero_if_infinite(V a) {
    return V::select(equal(a * V::zero(), V::zero()), a, V::zero());
}

// For x <= 0. `rounded` where only a sum of it is kept, which what it costs cannot be seen in: see
// exp_nonpositive.
template <class T, bool rounded = false>
Lanes<T> exp_or_zero(Lanes<T> x) {
    Lanes<T> e;
    exp_nonpositive<T, rounded, 1>(&x, &e);
    return e;
}

// A number of the size of x where exp(x) is not zero, finite where it is.
template <class T>
Lanes<T> finite_exponent(Lanes<T> x) {
    return max(Lanes<T>::set(ExpConstants<T>::zero_at), x);
}

// log(p) for p >= 0; a finite number, not -inf, at zero and about right for subnormal p.
template <class T>
Lanes<T> log_probability(Lanes<T> p) {
    constexpr T tiny = sizeof(T) == 8 ? T(0x1p-1022) : T(0x1p-126);
    return log_positive(max(Lanes<T>::set(tiny), p));
}

// log(1 + r) for r >= 0: the logarithm of the rounded sum, and what rounding left out.
template <class V>
V log_one_plus(V r) {
    const V u = V::set(1) + r;
    return log_positive(u) + (r - (u - V::set(1))) / u;
}

using Wide = Lanes<double>;

// How far sums move when their reference rises: zero where it stays, infinite included.
inline Wide fall(Wide from, Wide to) {
    return Wide::select(equal(from, to), Wide::zero(), from - to);
}

// 0 or NaN: the bits of log_positive(NaN) need not be one.
inline Wide nan_of(Wide a) {
    return a * Wide::zero();
}

// log sum exp keeps apart what is at the maximum, so that the logarithm is right for a small rest
// (as SciPy's). With b: sum b exp(a), where elements of b = 0 count for nothing, whatever a is.
template <class T, bool scaled>
struct SumExp {
    using V = Lanes<T>;
    static constexpr int inputs = scaled ? 2 : 1, references = 1, sums = 2, unroll = 4;
    static constexpr bool logits[2] = {true, false};

    static V effective(V x, V y) {
        if constexpr (scaled)
            return V::select(equal(y, V::zero()), V::set(-infinity<T>), x);
        else
            return x;
    }
    static void observe(V x, V y, V* reference) {
        reference[0] = max(reference[0], effective(x, y));
    }
    static void add(V x, V y, const V* base, V* sum) {
        const V d = effective(x, y) - base[0];
        V e = exp_or_zero<T, true>(d);
        if constexpr (scaled) e = e * y;
        const V rest = where(less(d, V::zero()), e);
        sum[0] = sum[0] + rest;
        sum[1] = sum[1] + (e - rest);
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        const Wide f = exp_or_zero<double>(fall(from[0], to[0]));
        const auto rises = less(from[0], to[0]);
        sum[0] = Wide::select(rises, f * (sum[0] + sum[1]), sum[0]);
        sum[1] = Wide::select(rises, Wide::zero(), sum[1]);
    }
    static void finish(const Wide* reference, const Wide* sum, Wide* result) {
        const Wide zero = Wide::zero(), one = Wide::set(1);
        const auto some = less(zero, sum[1]);
        const Wide at = Wide::select(some, sum[1], one);
        const Wide rest = Wide::select(some, sum[0] / at, zero);
        const Wide nan = nan_of(sum[0] + sum[1]);
        const Wide log_sum = Wide::select(some, log_positive(at) + log_one_plus(rest),
                                          Wide::set(-infinity<double>)) +
                             nan;
        result[result_log_sum] = log_sum;
        result[result_log_evidence] = Wide::select(some, reference[0] + log_sum, log_sum);
        result[result_sign] = Wide::select(some, one, zero) + nan;
    }
};

// The sum of exponentials alone, the first of LogitsEntropy's, which it leads up to.
template <class T>
struct ExpSum {
    using V = Lanes<T>;
    static constexpr int inputs = 1, references = 1, sums = 1;
    static constexpr bool logits[2] = {true, false};

    static void observe(V x, V, V* reference) { reference[0] = max(reference[0], x); }
    static V add(V x, V, const V* base, V* sum) {
        const V e = exp_or_zero<T>(x - base[0]);
        sum[0] = sum[0] + e;
        return e;
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        sum[0] = exp_or_zero<double>(fall(from[0], to[0])) * sum[0];
    }
};

template <class T>
struct LogitsEntropy {
    using V = Lanes<T>;
    static constexpr int inputs = 1, references = 1, sums = 2, unroll = 4;
    static constexpr bool logits[2] = {true, false};

    static void observe(V x, V, V* reference) { reference[0] = max(reference[0], x); }
    static V add(V x, V, const V* base, V* sum) {
        const V d = x - base[0];
        const V e = exp_or_zero<T>(d);
        sum[0] = sum[0] + e;
        sum[1] = fma(e, finite_exponent<T>(d), sum[1]);
        return e;
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        const Wide d = fall(from[0], to[0]);
        const Wide f = exp_or_zero<double>(d);
        sum[1] = f * fma(finite_exponent<double>(d), sum[0], sum[1]);
        sum[0] = f * sum[0];
    }
    // Both terms of the entropy, log s and -t / s, are positive: nothing cancels.
    static void finish(const Wide* reference, const Wide* sum, Wide* result) {
        const Wide zero = Wide::zero();
        const auto some = less(zero, sum[0]);
        const Wide s = Wide::select(some, sum[0], Wide::set(1));
        const Wide log_s = log_positive(s), nan = nan_of(sum[0]);
        const Wide evidence =
            Wide::select(some, reference[0] + log_s, Wide::set(-infinity<double>)) + nan;
        const Wide entropy = Wide::select(some, log_s - sum[1] / s, zero) + nan;
        result[result_log_evidence] = result[result_elbo] = evidence;
        result[result_entropy] = entropy;
        result[result_expected] = evidence - entropy;
        result[result_kl] = nan;
    }
};

template <class T>
struct ProbsEntropy {
    using V = Lanes<T>;
    static constexpr int inputs = 1, references = 1, sums = 2, unroll = 4;
    static constexpr bool logits[2] = {false, false};

    static void observe(V x, V, V* reference) { reference[0] = min(reference[0], x); }
    static void add(V x, V, const V*, V* sum) {
        sum[0] = sum[0] + x;
        sum[1] = fma(x, log_probability<T>(x), sum[1]);
    }
    static void rescale(const Wide*, const Wide*, Wide*) {}
    static void finish(const Wide*, const Wide* sum, Wide* result) {
        const Wide entropy = log_positive(sum[0]) - sum[1] / sum[0];
        result[result_entropy] = max(Wide::zero(), entropy) + nan_of(sum[0] + sum[1]);
        result[result_log_evidence] = result[result_expected] = result[result_kl] =
            result[result_elbo] = Wide::zero();
    }
};

// (q, p), where p may be a log-joint. With e proportional to q, and logarithms about the
// references: sums of e, e log e, e log p and p, from which every term of the bound follows.
template <class T, bool q_logits, bool p_logits>
struct Pair {
    using V = Lanes<T>;
    static constexpr int inputs = 2, references = 2, sums = 4, unroll = 2;
    static constexpr bool logits[2] = {q_logits, p_logits};

    static void observe(V q, V p, V* reference) {
        reference[0] = q_logits ? max(reference[0], q) : min(reference[0], q);
        reference[1] = p_logits ? max(reference[1], p) : min(reference[1], p);
    }
    static V add(V q, V p, const V* base, V* sum) {
        V e = q, log_e, log_p;
        if constexpr (q_logits) {
            const V d = q - base[0];
            e = exp_or_zero<T>(d);
            log_e = finite_exponent<T>(d);
        } else {
            log_e = log_probability<T>(q);
        }
        if constexpr (p_logits) {
            log_p = p - base[1];
            sum[3] = sum[3] + exp_or_zero<T, true>(log_p);
        } else {
            const auto none = equal(p, V::zero());
            log_p = V::select(none, V::set(-infinity<T>), log_probability<T>(p));
            sum[3] = sum[3] + p;
        }
        sum[0] = sum[0] + e;
        sum[1] = fma(e, log_e, sum[1]);
        // Zero mass times -inf is zero.
        sum[2] = fma(e, where(less(V::zero(), e), log_p), sum[2]);
        return e;
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        const Wide zero = Wide::zero();
        if constexpr (p_logits) {
            const Wide d = fall(from[1], to[1]);
            // From -inf there is nothing to move: the sum is zero or -inf already.
            const Wide shift = or_zero_if_infinite(d);
            sum[2] = fma(shift, sum[0], sum[2]);
            sum[3] = sum[3] * exp_or_zero<double>(d);
        }
        if constexpr (q_logits) {
            const Wide d = fall(from[0], to[0]);
            const Wide f = exp_or_zero<double>(d);
            const auto gone = equal(f, zero);
            const Wide log_f = finite_exponent<double>(d);
            sum[1] = f * fma(log_f, sum[0], sum[1]);
            sum[2] = Wide::select(gone, zero, f * sum[2]);
            sum[0] = f * sum[0];
        }
    }
    static void finish(const Wide* reference, const Wide* sum, Wide* result) {
        const Wide zero = Wide::zero(), none = Wide::set(-infinity<double>);
        const auto some = less(zero, sum[3]);
        const Wide log_q = log_positive(sum[0]);
        const Wide log_p = log_positive(Wide::select(some, sum[3], Wide::set(1)));
        const Wide base = p_logits ? reference[1] : zero;
        const Wide nan = nan_of(sum[0] + sum[1]), any_nan = nan + nan_of(sum[3]);
        const Wide entropy = max(zero, log_q - sum[1] / sum[0]) + nan;
        const Wide expected = base + sum[2] / sum[0] + any_nan;
        const Wide kl = max(zero, (sum[1] - sum[2]) / sum[0] - log_q + log_p) + any_nan;
        // A NaN sum compares as none: it must come through that side, too.
        result[result_log_evidence] = Wide::select(some, base + log_p, none) + any_nan;
        result[result_entropy] = Wide::select(some, entropy, zero) + nan;
        result[result_expected] = Wide::select(some, expected, none) + any_nan;
        result[result_kl] = Wide::select(some, kl, zero) + any_nan;
        result[result_elbo] = Wide::select(some, expected + entropy, none) + any_nan;
    }
};
