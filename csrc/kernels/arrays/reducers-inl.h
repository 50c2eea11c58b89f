// States of slices: how those of parts merge, and the results of finished ones. See Reducer in
// table.h. All is float64 and costs nothing beside the elements.

template <class Op>
void merge_states(double* state, const double* other, std::int64_t plane, std::int64_t width) {
    constexpr int R = Op::references;
    for (std::int64_t i = 0; i < width; i += Wide::width) {
        Wide a[R], b[R], to[R], sum[Op::sums], more[Op::sums];
        for (int k = 0; k < R; ++k) {
            a[k] = Wide::load(state + k * plane + i);
            b[k] = Wide::load(other + k * plane + i);
            to[k] = Op::logits[k] ? max(a[k], b[k]) : min(a[k], b[k]);
            to[k].store(state + k * plane + i);
        }
        for (int k = 0; k < Op::sums; ++k) {
            sum[k] = Wide::load(state + (R + k) * plane + i);
            more[k] = Wide::load(other + (R + k) * plane + i);
        }
        Op::rescale(a, to, sum);
        Op::rescale(b, to, more);
        for (int k = 0; k < Op::sums; ++k) (sum[k] + more[k]).store(state + (R + k) * plane + i);
    }
}

template <class Op>
void finish_states(const double* state, std::int64_t plane, std::int64_t width, double* results) {
    for (std::int64_t i = 0; i < width; i += Wide::width) {
        Wide reference[Op::references], sum[Op::sums], result[result_count];
        for (int k = 0; k < result_count; ++k) result[k] = Wide::zero();
        for (int k = 0; k < Op::references; ++k) reference[k] = Wide::load(state + k * plane + i);
        for (int k = 0; k < Op::sums; ++k)
            sum[k] = Wide::load(state + (Op::references + k) * plane + i);
        Op::finish(reference, sum, result);
        for (int k = 0; k < result_count; ++k) result[k].store(results + k * plane + i);
    }
}

// With factors of both signs a sum may be anything. One slice at a time. A rest that is small is
// kept apart from what is at the largest exponent, as SciPy does: log|at| + log1p(rest / at). A
// larger one may cancel: factors may be small there and large here.
inline void finish_scaled(const double* state, std::int64_t plane, std::int64_t width,
                          double* results) {
    for (std::int64_t i = 0; i < width; ++i) {
        const double reference = state[i], rest = state[plane + i], at = state[2 * plane + i];
        double log_sum, sign;
        const double ratio = rest / at;
        if (at == 0 || !(fabs(ratio) < 0.5)) {
            const double sum = at + rest;
            log_sum = log(fabs(sum));
            sign = sum > 0 ? 1 : sum < 0 ? -1 : sum * 0;
        } else {
            log_sum = log(fabs(at)) + log1p(ratio);
            sign = at > 0 ? 1 : -1;
        }
        results[result_log_evidence * plane + i] =
            reference > -runtime::infinity ? reference + log_sum : log_sum;
        results[result_sign * plane + i] = sign;
        results[result_log_sum * plane + i] = log_sum;
    }
}

template <class Op, class T>
constexpr Reducer<T> reducer = {
    Op::inputs,        Op::references,        Op::sums,         {Op::logits[0], Op::logits[1]},
    reduce_row<Op, T>, reduce_columns<Op, T>, merge_states<Op>, finish_states<Op>};

template <class T>
constexpr Reducer<T> scaled_reducer = {2,
                                       1,
                                       3,
                                       {true, false},
                                       reduce_row<SumExp<T, true>, T>,
                                       reduce_columns<SumExp<T, true>, T>,
                                       merge_states<SumExp<T, true>>,
                                       finish_scaled};
