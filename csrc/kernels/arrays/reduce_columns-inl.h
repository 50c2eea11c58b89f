// The reductions with lanes across neighbouring slices. See Reducer::columns in table.h.
//
// Error: at most column_chunk elements of a slice are summed in T, then in float64.
//
// Blocking: a call reads its rows twice, for the references and for the sums; at column_chunk rows
// of column_width they stay in L2 between. Rows are read from start to end, four at a time: at a
// large power-of-two stride, the lines of more would push each other out of the cache.

// Moves the sums of a vector of slices to new references.
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

template <class Op, class T, int n_rows>
void observe_rows(const T* const* x, const T* const* y, std::int64_t width,
                  T (*reference)[tuning::column_width]) {
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
void add_rows(const T* const* x, const T* const* y, std::int64_t width,
              std::int64_t prefetch_distance, const T (*reference)[tuning::column_width],
              T (*sums)[tuning::column_width]) {
    using V = Lanes<T>;
    for_each_vector_of<T>(width, [&](std::int64_t c, auto count) {
        V base[Op::references], own[Op::sums];
        for (int k = 0; k < Op::references; ++k) base[k] = V::load(reference[k] + c);
        base_of<V, Op>(base, base);
        for (int k = 0; k < Op::sums; ++k) own[k] = V::load(sums[k] + c);
        V a[n_rows], b[n_rows], e[n_rows];
        for (int r = 0; r < n_rows; ++r) {
            prefetch<1>(x[r] + c + prefetch_distance);
            a[r] = load_first(x[r] + c, count);
            if constexpr (Op::inputs > 1) {
                prefetch<1>(y[r] + c + prefetch_distance);
                b[r] = load_first(y[r] + c, count);
            }
        }
        Op::template add<n_rows, true>(a, b, base, own, e);
        for (int k = 0; k < Op::sums; ++k) own[k].store(sums[k] + c);
    });
}

// Calls four(r) for each four of n rows from row r on, and one(r) for each row that remains.
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
                      double* state, std::int64_t plane, T (*reference)[tuning::column_width]) {
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

template <class Op, class T>
void reduce_columns(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    std::int64_t prefetch_distance, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    alignas(64) T reference[Op::references][tuning::column_width],
        sums[Op::sums][tuning::column_width];
    for (int k = 0; k < Op::sums; ++k)
        for (std::int64_t i = 0; i < plane; ++i) sums[k][i] = 0;
    raise_references<Op>(x, y, n_rows, width, state, plane, reference);
    by_fours(
        n_rows,
        [&](std::int64_t r) {
            add_rows<Op, T, 4>(x + r, second_input<Op>(y, r), width, prefetch_distance, reference,
                               sums);
        },
        [&](std::int64_t r) {
            add_rows<Op, T, 1>(x + r, second_input<Op>(y, r), width, prefetch_distance, reference,
                               sums);
        });
    for (int k = 0; k < Op::sums; ++k)
        for (std::int64_t c = 0; c < width; c += W)
            V::load(sums[k] + c).add_to(state + (Op::references + k) * plane + c);
}
