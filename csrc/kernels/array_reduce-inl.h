// The reductions over slices: along a contiguous row, or with lanes across neighbouring slices.
// What an operation does to a vector is the same in both.

template <class V, class Op>
constexpr double initial_reference(int k) {
    return Op::logits[k] ? -__builtin_inf() : __builtin_inf();
}

template <class V, class Op>
void base_of(const V* reference, V* base) {
    for (int k = 0; k < Op::references; ++k) base[k] = or_zero_if_infinite(reference[k]);
}

// Elements that leave every sum as it is.
template <class T, class Op>
constexpr T neutral(int k) {
    return Op::logits[k] ? -infinity<T> : T(0);
}

template <int n>
struct Count {
    static constexpr int value = n;
    constexpr operator std::int64_t() const { return n; }
};

// Calls f(Count<n>, x, y, i) for n vectors of a row from element i: U as long as there are so many,
// then one, the last filled up with `fill`.
template <int inputs, int U, class T, class F>
void for_each_group(const T* x, const T* y, std::int64_t n, const T* fill, F f) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const auto load = [&](auto count, std::int64_t i) {
        V a[count.value], b[count.value];
        for (int u = 0; u < count.value; ++u) {
            a[u] = V::load(x + i + u * W);
            b[u] = inputs > 1 ? V::load(y + i + u * W) : V::zero();
        }
        f(count, a, b, i);
    };
    std::int64_t i = 0;
    for (; i + U * W <= n; i += U * W) load(Count<U>(), i);
    for (; i + W <= n; i += W) load(Count<1>(), i);
    if (i == n) return;
    T last[2][W];
    for (int j = 0; j < W; ++j) {
        last[0][j] = i + j < n ? x[i + j] : fill[0];
        last[1][j] = inputs > 1 && i + j < n ? y[i + j] : fill[1];
    }
    const V a = V::load(last[0]), b = V::load(last[1]);
    f(Count<1>(), &a, &b, i);
}

// The references of a row, one number each.
template <class Op, class T>
void row_references(const T* x, const T* y, std::int64_t n, T* reference) {
    using V = Lanes<T>;
    constexpr int U = 4;
    V lanes[U][Op::references];
    for (int u = 0; u < U; ++u)
        for (int k = 0; k < Op::references; ++k)
            lanes[u][k] = V::set(static_cast<T>(initial_reference<V, Op>(k)));
    // Filling up must not lower a minimum.
    const T fill[2] = {Op::logits[0] ? -infinity<T> : infinity<T>,
                       Op::references > 1 ? (Op::logits[1] ? -infinity<T> : infinity<T>) : T(0)};
    for_each_group<Op::inputs, U>(x, y, n, fill,
                                  [&](auto count, const V* a, const V* b, std::int64_t) {
                                      for (int u = 0; u < count.value; ++u)
                                          Op::observe(a[u], b[u], lanes[u]);
                                  });
    for (int k = 0; k < Op::references; ++k) {
        V all = lanes[0][k];
        for (int u = 1; u < U; ++u)
            all = Op::logits[k] ? max(all, lanes[u][k]) : min(all, lanes[u][k]);
        T each[V::width];
        all.store(each);
        for (int j = 1; j < V::width; ++j)
            if (Op::logits[k] ? each[j] > each[0] : each[j] < each[0]) each[0] = each[j];
        reference[k] = each[0];
    }
}

// Sums of a row about its references; keep(Count<n>, e, i) sees what n vectors from element i add
// to the first. Every few vectors are summed by themselves: of many equal numbers, added one after
// another, all roundings go the same way.
template <class Op, class T, class Keep>
void row_sums(const T* x, const T* y, std::int64_t n, std::int64_t ahead, const T* reference,
              double* state, std::int64_t plane, Keep&& keep) {
    using V = Lanes<T>;
    constexpr std::int64_t together = 64 * V::width;
    V base[Op::references], sum[Op::sums];
    for (int k = 0; k < Op::references; ++k) base[k] = V::set(reference[k]);
    base_of<V, Op>(base, base);
    for (int k = 0; k < Op::sums; ++k) sum[k] = V::zero();
    const T fill[2] = {neutral<T, Op>(0), neutral<T, Op>(1)};
    double each[Op::sums][V::width] = {};
    const auto flush = [&] {
        for (int k = 0; k < Op::sums; ++k) {
            sum[k].add_to(each[k]);
            sum[k] = V::zero();
        }
    };
    for_each_group<Op::inputs, Blocking::exponentials>(
        x, y, n, fill, [&](auto count, const V* a, const V* b, std::int64_t i) {
            constexpr int vectors = decltype(count)::value;
            fetch_ahead<vectors>(x + i + ahead);
            if constexpr (Op::inputs > 1) fetch_ahead<vectors>(y + i + ahead);
            V e[vectors];
            Op::template add<vectors, false>(a, b, base, sum, e);
            keep(count, e, i);
            if constexpr (vectors > 1)
                if (i % together == together - vectors * V::width) flush();
        });
    flush();
    for (int k = 0; k < Op::references; ++k) state[k * plane] = static_cast<double>(reference[k]);
    for (int k = 0; k < Op::sums; ++k) {
        double total = 0;
        for (int j = 0; j < V::width; ++j) total += each[k][j];
        state[(Op::references + k) * plane] = total;
    }
}

// The exponentials of a row, with room for the last vector.
template <class T>
struct Kept {
    template <class Count>
    void operator()(Count count, const Lanes<T>* vectors, std::int64_t i) {
        for (int u = 0; u < count.value; ++u) vectors[u].store(e + i + u * Lanes<T>::width);
    }

    alignas(64) T e[row_chunk + Lanes<T>::width];
};

// Writes the sum of a row's exponentials below the largest, which is one. Where it is more than an
// eighth, the sum of all tells it; a smaller one has lost digits there, and is summed by itself.
template <class Op, class T>
void keep_rest(const Kept<T>& kept, std::int64_t n, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    double* sums = state + Op::references * plane;
    double& rest = sums[Op::rest * plane];
    rest = sums[0] - 1;
    if (!(rest < 0.125)) return;
    const T fill[2] = {T(0), T(0)};
    V sum = V::zero();
    const auto add = [&](auto count, const V* e, const V*, std::int64_t) {
        constexpr int vectors = decltype(count)::value;
        V below[vectors];
        for (int u = 0; u < vectors; ++u) below[u] = where(less(e[u], V::set(1)), e[u]);
        sum = sum + sum_of<vectors>(below);
    };
    for_each_group<1, 4>(kept.e, kept.e, n, fill, add);
    double each[V::width] = {};
    sum.add_to(each);
    rest = 0;
    for (int j = 0; j < V::width; ++j) rest += each[j];
}

template <class Op, class T>
void reduce_row(const T* x, const T* y, std::int64_t n, std::int64_t ahead, double* state,
                std::int64_t plane) {
    T reference[Op::references];
    row_references<Op>(x, y, n, reference);
    if constexpr (Op::rest >= 0) {
        Kept<T> kept;
        row_sums<Op>(x, y, n, ahead, reference, state, plane, kept);
        keep_rest<Op>(kept, n, state, plane);
    } else {
        row_sums<Op>(x, y, n, ahead, reference, state, plane,
                     [](auto, const Lanes<T>*, std::int64_t) {});
    }
}

// Moves the sums of W slices to new references.
template <class Op, class T>
void move_references(const Lanes<T>* reference, double* state, std::int64_t plane) {
    constexpr int W = Lanes<T>::width, R = Op::references;
    double moved[R][W];
    for (int k = 0; k < R; ++k) {
        T each[W];
        reference[k].store(each);
        for (int j = 0; j < W; ++j) moved[k][j] = static_cast<double>(each[j]);
    }
    for (int j = 0; j < W; j += Wide::width) {
        Wide from[R], to[R], sum[Op::sums];
        for (int k = 0; k < R; ++k) {
            from[k] = Wide::load(state + k * plane + j);
            to[k] = Wide::load(moved[k] + j);
            to[k].store(state + k * plane + j);
        }
        for (int k = 0; k < Op::sums; ++k) sum[k] = Wide::load(state + (R + k) * plane + j);
        Op::rescale(from, to, sum);
        for (int k = 0; k < Op::sums; ++k) sum[k].store(state + (R + k) * plane + j);
    }
}

// Calls f(i, count) for whole vectors from the start, whose count is known when it is compiled, and
// for the shorter last one.
template <class T, class F>
void for_each_vector_of(std::int64_t n, F f) {
    constexpr int W = Lanes<T>::width;
    std::int64_t i = 0;
    for (; i + W <= n; i += W) f(i, Count<W>());
    if (i < n) f(i, n - i);
}

// Loads count elements, and zeros for the rest of the lanes.
template <class T>
Lanes<T> load_first(const T* p, std::int64_t count) {
    if (count >= Lanes<T>::width) return Lanes<T>::load(p);
    T each[Lanes<T>::width] = {};
    for (std::int64_t j = 0; j < count; ++j) each[j] = p[j];
    return Lanes<T>::load(each);
}

template <class T>
Lanes<T> load_first(const T* p, Count<Lanes<T>::width>) {
    return Lanes<T>::load(p);
}

// Rows are read from their start to their end, four at a time: at a large power-of-two stride, the
// lines of more would push each other out of the cache.
template <class Op, class T, int n_rows>
void observe_rows(const T* const* x, const T* const* y, std::int64_t width,
                  T (*reference)[column_width]) {
    using V = Lanes<T>;
    for_each_vector_of<T>(width, [&](std::int64_t c, auto count) {
        V own[Op::references];
        for (int k = 0; k < Op::references; ++k) own[k] = V::load(reference[k] + c);
        for (int r = 0; r < n_rows; ++r)
            Op::observe(load_first(x[r] + c, count),
                        Op::inputs > 1 ? load_first(y[r] + c, count) : V::zero(), own);
        for (int k = 0; k < Op::references; ++k) own[k].store(reference[k] + c);
    });
}

template <class Op, class T, int n_rows>
void add_rows(const T* const* x, const T* const* y, std::int64_t width, std::int64_t ahead,
              const T (*reference)[column_width], T (*sums)[column_width]) {
    using V = Lanes<T>;
    for_each_vector_of<T>(width, [&](std::int64_t c, auto count) {
        V base[Op::references], own[Op::sums];
        for (int k = 0; k < Op::references; ++k) base[k] = V::load(reference[k] + c);
        base_of<V, Op>(base, base);
        for (int k = 0; k < Op::sums; ++k) own[k] = V::load(sums[k] + c);
        V a[n_rows], b[n_rows], e[n_rows];
        for (int r = 0; r < n_rows; ++r) {
            fetch_ahead<1>(x[r] + c + ahead);
            a[r] = load_first(x[r] + c, count);
            if constexpr (Op::inputs > 1) {
                fetch_ahead<1>(y[r] + c + ahead);
                b[r] = load_first(y[r] + c, count);
            }
        }
        Op::template add<n_rows, true>(a, b, base, own, e);
        for (int k = 0; k < Op::sums; ++k) own[k].store(sums[k] + c);
    });
}

// Calls four(r) for the first of each four of n rows, and one(r) for each of the rest.
template <class Four, class One>
void by_fours(std::int64_t n, Four four, One one) {
    std::int64_t r = 0;
    for (; r + 4 <= n; r += 4) four(r);
    for (; r < n; ++r) one(r);
}

// Row r of the second input, where there is one.
template <class Op, class T>
const T* const* second_input(const T* const* y, std::int64_t r) {
    return Op::inputs > 1 ? y + r : nullptr;
}

// Updates the references of states by rows, moves the sums to them and returns them in `reference`.
template <class Op, class T>
void raise_references(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                      double* state, std::int64_t plane, T (*reference)[column_width]) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    for (int k = 0; k < Op::references; ++k)
        for (std::int64_t i = 0; i < plane; ++i)
            reference[k][i] = static_cast<T>(state[k * plane + i]);
    by_fours(
        n_rows,
        [&](std::int64_t r) {
            observe_rows<Op, T, 4>(x + r, second_input<Op>(y, r), width, reference);
        },
        [&](std::int64_t r) {
            observe_rows<Op, T, 1>(x + r, second_input<Op>(y, r), width, reference);
        });
    for (std::int64_t c = 0; c < width; c += W) {
        bool moves = false;
        V own[Op::references];
        for (int k = 0; k < Op::references; ++k) {
            own[k] = V::load(reference[k] + c);
            T old[W];
            for (int j = 0; j < W; ++j) old[j] = static_cast<T>(state[k * plane + c + j]);
            moves = moves || V::bits(equal(V::load(old), own[k])) != all_lanes<V>;
        }
        if (moves) move_references<Op, T>(own, state + c, plane);
    }
}

// The rows, few, stay in the cache between the references and the sums.
template <class Op, class T>
void reduce_columns(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    std::int64_t ahead, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    alignas(64) T reference[Op::references][column_width], sums[Op::sums][column_width];
    for (int k = 0; k < Op::sums; ++k)
        for (std::int64_t i = 0; i < plane; ++i) sums[k][i] = 0;
    raise_references<Op>(x, y, n_rows, width, state, plane, reference);
    by_fours(
        n_rows,
        [&](std::int64_t r) {
            add_rows<Op, T, 4>(x + r, second_input<Op>(y, r), width, ahead, reference, sums);
        },
        [&](std::int64_t r) {
            add_rows<Op, T, 1>(x + r, second_input<Op>(y, r), width, ahead, reference, sums);
        });
    for (int k = 0; k < Op::sums; ++k)
        for (std::int64_t c = 0; c < width; c += W)
            V::load(sums[k] + c).add_to(state + (Op::references + k) * plane + c);
}

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

// With factors of both signs, sums may be anything: one slice at a time. A rest that is small is
// kept apart from what is at the largest exponent, as SciPy does: log|at| + log1p(rest / at). Of a
// larger one these may be large numbers that cancel: factors may be small there and large here.
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
            reference > -__builtin_inf() ? reference + log_sum : log_sum;
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
