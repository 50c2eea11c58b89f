// The operations of the reductions, over lanes. Each has
//   observe   updates the references by one vector of elements;
//   add       adds n vectors to the sums, about the references (zero where those are infinite), and
//             returns in e what it adds to the first sum. `apart`: it also adds up the exponentials
//             below the largest, sum number `rest` (-1 for none); along a row keep_rest does that;
//   rescale   moves float64 sums from one set of references to another;
//   finish    makes the results of float64 states.
//
// In: elements of T in lanes. Out: sums of T for some vectors, float64 states, float64 results.
// A NaN is lost by the references but not by the sums. A reference of +inf is left to the caller.
//
// Error: log sum exp is off by at most 4 epsilon max(1, |largest a|, |result|), epsilon of T;
// entropy and KL are never negative.
//
// Blocking: n vectors at a time, so that the chains of dependent operations of their exponentials
// overlap.

template <class V>
constexpr unsigned all_lanes = (1u << V::width) - 1;

template <class T>
constexpr T infinity = static_cast<T>(runtime::infinity);

template <class V>
V or_zero_if_infinite(V a) {
    return V::select(equal(a * V::zero(), V::zero()), a, V::zero());
}

// exp(x) for x <= 0. The operations below take the exponential of a rounded difference instead, but
// where softmax keeps them: what that loses cannot be seen in a sum, nor in a gradient beside the
// other terms.
template <class T>
Lanes<T> exp_or_zero(Lanes<T> x) {
    Lanes<T> e;
    exp_nonpositive<T, false, 1>(&x, &e);
    return e;
}

// A number of the size of x where exp(x) is not zero, finite where it is.
template <class T>
Lanes<T> finite_exponent(Lanes<T> x) {
    return max(Lanes<T>::set(ExpConstants<T>::zero_at), x);
}

template <class T>
constexpr T smallest_normal = sizeof(T) == 8 ? T(0x1p-1022) : T(0x1p-126);

// log(p) for p >= 0. At zero it is a finite number, not -inf, and about right for subnormal p,
// which is all that p log(p) needs.
template <class T>
Lanes<T> log_probability(Lanes<T> p) {
    return log_positive(max(Lanes<T>::set(smallest_normal<T>), p));
}

// The same, right for subnormal p.
template <class T>
Lanes<T> log_any_probability(Lanes<T> p) {
    using V = Lanes<T>;
    const auto subnormal = less(p, V::set(smallest_normal<T>));
    const V normal = V::select(subnormal, p * V::set(T(0x1p64)), p);
    return log_probability<T>(normal) - where(subnormal, V::set(64 * ExpConstants<T>::ln2));
}

// The sum of the n exponentials e whose d is below zero.
template <int n, class V>
VBFAST_INLINED inline V sum_below(const V* e, const V* d) {
    V below[n];
    for (int i = 0; i < n; ++i) below[i] = where(less(d[i], V::zero()), e[i]);
    return sum_of<n>(below);
}

// Whether log_sum_about_largest may look at the rest of a sum. A sum of two or more only grows
// about the same reference, and about a higher one all of it becomes the rest.
template <class V>
bool may_need_rest(V sum) {
    return V::bits(less(sum, V::set(2))) != 0;
}

// log(1 + r) for r >= 0: the logarithm of the rounded sum, and what rounding left out.
template <class V>
V log_one_plus(V r) {
    const V u = V::set(1) + r;
    return log_positive(u) + (r - (u - V::set(1))) / u;
}

using Wide = Lanes<double>;

// log(s) of a sum s of exponentials about the largest, given the part of it below the largest.
// Where that part is small, s is about one and has lost its digits.
inline Wide log_sum_about_largest(Wide s, Wide rest) {
    const Wide one = Wide::set(1);
    const Wide lost = where(less(s, Wide::set(2)), (rest - (s - one)) / s);
    return log_positive(s) + lost;
}

// How far sums move when their reference rises: zero where it stays, infinite included.
inline Wide fall(Wide from, Wide to) {
    return Wide::select(equal(from, to), Wide::zero(), from - to);
}

// 0 or NaN: the bits of log_positive(NaN) need not be one.
inline Wide nan_of(Wide a) {
    return a * Wide::zero();
}

// log sum exp keeps apart what is at the maximum, so that the logarithm is right for a small rest,
// as SciPy's is. With b: sum b exp(a), where elements of b = 0 count for nothing, whatever a is.
// The sum of the squares of b tells the driver of factors for which the sums are no good.
template <class T, bool scaled>
struct SumExp {
    using V = Lanes<T>;
    static constexpr int inputs = scaled ? 2 : 1, references = 1, sums = scaled ? 3 : 2, rest = -1;
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
    template <int n, bool apart>
    VBFAST_INLINED static inline void add(const V* x, const V* y, const V* base, V* sum, V* e) {
        V d[n], at[n];
        for (int i = 0; i < n; ++i) d[i] = effective(x[i], y[i]) - base[0];
        exp_nonpositive<T, true, n>(d, e);
        for (int i = 0; i < n; ++i) {
            if constexpr (scaled) e[i] = e[i] * y[i];
            const V below = where(less(d[i], V::zero()), e[i]);
            at[i] = e[i] - below;
            e[i] = below;
        }
        sum[0] = sum[0] + sum_of<n>(e);
        sum[1] = sum[1] + sum_of<n>(at);
        if constexpr (scaled) sum[2] = sum[2] + sum_of_products<n>(y, y);
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
        const Wide others = Wide::select(some, sum[0] / at, zero);
        const Wide nan = nan_of(sum[0] + sum[1]);
        const Wide log_sum = Wide::select(some, log_positive(at) + log_one_plus(others),
                                          Wide::set(-infinity<double>)) +
                             nan;
        result[result_log_sum] = log_sum;
        result[result_log_evidence] = Wide::select(some, reference[0] + log_sum, log_sum);
        result[result_sign] = Wide::select(some, one, zero) + nan;
    }
};

// The sum of exponentials alone, which is the first of LogitsEntropy's.
template <class T>
struct ExpSum {
    using V = Lanes<T>;
    static constexpr int inputs = 1, references = 1, sums = 1, rest = -1;
    static constexpr bool logits[2] = {true, false};

    static void observe(V x, V, V* reference) { reference[0] = max(reference[0], x); }
    template <int n, bool apart>
    VBFAST_INLINED static inline void add(const V* x, const V*, const V* base, V* sum, V* e) {
        V d[n];
        for (int i = 0; i < n; ++i) d[i] = x[i] - base[0];
        exp_nonpositive<T, false, n>(d, e);
        sum[0] = sum[0] + sum_of<n>(e);
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        sum[0] = exp_or_zero<double>(fall(from[0], to[0])) * sum[0];
    }
};

// Sums e, e log e, and the e below the largest.
template <class T>
struct LogitsEntropy {
    using V = Lanes<T>;
    static constexpr int inputs = 1, references = 1, sums = 3, rest = 2;
    static constexpr bool logits[2] = {true, false};

    static void observe(V x, V, V* reference) { reference[0] = max(reference[0], x); }
    template <int n, bool apart>
    VBFAST_INLINED static inline void add(const V* x, const V*, const V* base, V* sum, V* e) {
        V d[n];
        for (int i = 0; i < n; ++i) d[i] = x[i] - base[0];
        exp_nonpositive<T, true, n>(d, e);
        for (int i = 0; i < n; ++i) d[i] = finite_exponent<T>(d[i]);
        sum[0] = sum[0] + sum_of<n>(e);
        sum[1] = sum[1] + sum_of_products<n>(e, d);
        if constexpr (apart)
            if (may_need_rest(sum[0])) sum[rest] = sum[rest] + sum_below<n>(e, d);
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        const Wide d = fall(from[0], to[0]);
        const Wide f = exp_or_zero<double>(d);
        sum[1] = f * fma(finite_exponent<double>(d), sum[0], sum[1]);
        sum[0] = f * sum[0];
        sum[rest] = Wide::select(less(from[0], to[0]), sum[0], sum[rest]);
    }
    // Both terms of the entropy, log s and -t / s, are positive: nothing cancels.
    static void finish(const Wide* reference, const Wide* sum, Wide* result) {
        const Wide zero = Wide::zero();
        const auto some = less(zero, sum[0]);
        const Wide s = Wide::select(some, sum[0], Wide::set(1));
        const Wide log_s = log_sum_about_largest(s, sum[rest]), nan = nan_of(sum[0]);
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
    static constexpr int inputs = 1, references = 1, sums = 2, rest = -1;
    static constexpr bool logits[2] = {false, false};

    static void observe(V x, V, V* reference) { reference[0] = min(reference[0], x); }
    template <int n, bool apart>
    VBFAST_INLINED static inline void add(const V* x, const V*, const V*, V* sum, V* e) {
        V log_x[n];
        for (int i = 0; i < n; ++i) {
            e[i] = x[i];
            log_x[i] = log_probability<T>(x[i]);
        }
        sum[0] = sum[0] + sum_of<n>(e);
        sum[1] = sum[1] + sum_of_products<n>(e, log_x);
    }
    static void rescale(const Wide*, const Wide*, Wide*) {}
    static void finish(const Wide*, const Wide* sum, Wide* result) {
        const Wide entropy = log_positive(sum[0]) - sum[1] / sum[0];
        result[result_entropy] = max(Wide::zero(), entropy) + nan_of(sum[0] + sum[1]);
        result[result_log_evidence] = result[result_expected] = result[result_kl] =
            result[result_elbo] = Wide::zero();
    }
};

// (q, p), where p may be a log-joint. With e proportional to q and logarithms about the references:
// sums of e, e log e, e log p and p, from which every term of the bound follows, and for logits of
// q the sum of e below the largest.
template <class T, bool q_logits, bool p_logits>
struct Pair {
    using V = Lanes<T>;
    static constexpr int inputs = 2, references = 2, sums = q_logits ? 5 : 4;
    static constexpr int rest = q_logits ? 4 : -1;
    static constexpr bool logits[2] = {q_logits, p_logits};

    static void observe(V q, V p, V* reference) {
        reference[0] = q_logits ? max(reference[0], q) : min(reference[0], q);
        reference[1] = p_logits ? max(reference[1], p) : min(reference[1], p);
    }
    template <int n, bool apart>
    VBFAST_INLINED static inline void add(const V* q, const V* p, const V* base, V* sum, V* e) {
        V log_e[n], log_p[n], exp_p[n];
        if constexpr (q_logits) {
            for (int i = 0; i < n; ++i) log_e[i] = q[i] - base[0];
            exp_nonpositive<T, true, n>(log_e, e);
            for (int i = 0; i < n; ++i) log_e[i] = finite_exponent<T>(log_e[i]);
        } else {
            for (int i = 0; i < n; ++i) {
                e[i] = q[i];
                log_e[i] = log_probability<T>(q[i]);
            }
        }
        if constexpr (p_logits) {
            for (int i = 0; i < n; ++i) log_p[i] = p[i] - base[1];
            exp_nonpositive<T, true, n>(log_p, exp_p);
        } else {
            // The reference is the smallest.
            const auto subnormal = less(base[1], V::set(smallest_normal<T>));
            if (V::bits(subnormal) == 0) {
                for (int i = 0; i < n; ++i) log_p[i] = log_probability<T>(p[i]);
            } else {
                for (int i = 0; i < n; ++i)
                    log_p[i] = V::select(equal(p[i], V::zero()), V::set(-infinity<T>),
                                         log_any_probability<T>(p[i]));
            }
            for (int i = 0; i < n; ++i) exp_p[i] = p[i];
        }
        // Zero mass times -inf is zero.
        for (int i = 0; i < n; ++i) log_p[i] = where(less(V::zero(), e[i]), log_p[i]);
        sum[0] = sum[0] + sum_of<n>(e);
        sum[1] = sum[1] + sum_of_products<n>(e, log_e);
        if constexpr (apart && q_logits)
            if (may_need_rest(sum[0])) sum[rest] = sum[rest] + sum_below<n>(e, log_e);
        sum[2] = sum[2] + sum_of_products<n>(e, log_p);
        sum[3] = sum[3] + sum_of<n>(exp_p);
    }
    static void rescale(const Wide* from, const Wide* to, Wide* sum) {
        const Wide zero = Wide::zero();
        if constexpr (p_logits) {
            const Wide d = fall(from[1], to[1]);
            // From -inf there is nothing to move: the sum is zero or -inf already. A fall that
            // overflows makes it infinite or NaN: see settle_overflow.
            const auto started = less(Wide::set(-infinity<double>), from[1]);
            const Wide moved = where(started, d);
            sum[2] = fma(moved, sum[0], sum[2]);
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
            sum[rest] = Wide::select(less(from[0], to[0]), sum[0], sum[rest]);
        }
    }
    static void finish(const Wide* reference, const Wide* sum, Wide* result) {
        const Wide zero = Wide::zero(), none = Wide::set(-infinity<double>);
        const auto some = less(zero, sum[3]);
        const Wide log_q =
            q_logits ? log_sum_about_largest(sum[0], sum[rest]) : log_positive(sum[0]);
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

// The reference of no elements.
template <class V, class Op>
constexpr double initial_reference(int k) {
    return Op::logits[k] ? -runtime::infinity : runtime::infinity;
}

// What sums are taken about.
template <class V, class Op>
void base_of(const V* reference, V* base) {
    for (int k = 0; k < Op::references; ++k) base[k] = or_zero_if_infinite(reference[k]);
}

// Elements that leave every sum as it is.
template <class T, class Op>
constexpr T neutral(int k) {
    return Op::logits[k] ? -infinity<T> : T(0);
}
