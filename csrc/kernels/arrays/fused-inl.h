// Reduction and map together, with one exponential an element: rows in one call, columns in two.
// See Mapper::fused, Mapper::keep and Mapper::scale in table.h.
//
// Error: as of reductions and maps by themselves. Columns multiply each exponential by one more
// factor, exp(its reference - the last reference) / sum.
//
// Blocking: the exponentials of a row wait in L1, those of columns in the output.

// A single large output is written by non-temporal stores. The lines of two outputs are prefetched
// instead, while the exponentials are computed, which leave memory idle.
template <class Map, class T>
void fused_row(const T* x, const T* y, std::int64_t n, std::int64_t prefetch_distance,
               double weight, T* out0, T* out1, bool non_temporal, double* state,
               std::int64_t plane) {
    using V = Lanes<T>;
    using Op = typename Map::Sums;
    Kept<T> kept;
    T reference[Op::references];
    row_references<Op>(x, y, n, reference);
    row_sums<Op>(x, y, n, prefetch_distance, reference, state, plane,
                 [&](auto count, const V* e, std::int64_t i) {
                     kept(count, e, i);
                     if constexpr (Map::outputs > 1) {
                         prefetch<count.value>(out0 + i);
                         prefetch<count.value>(out1 + i);
                     }
                 });
    if constexpr (Op::rest >= 0) keep_rest<Op>(kept, n, state, plane);
    T parameters[max_parameters];
    Map::find_parameters(state, plane, weight, parameters);
    V p[Map::parameters];
    for (int k = 0; k < Map::parameters; ++k) p[k] = V::set(parameters[k]);
    for_each_stored<Map>(
        out0, n, non_temporal, [&](std::int64_t i, std::int64_t count, auto store) {
            V out[Map::outputs];
            const V second = Map::inputs > 1 ? load_first(y + i, count) : V::zero();
            Map::finish(V::load(kept.e + i), load_first(x + i, count), second, p, out);
            put(store, out[0], out0 + i, count);
            if constexpr (Map::outputs > 1) store_first(out[1], out1 + i, count);
        });
}

// Each row is read from a cache once the references are known, and its exponentials are written,
// one row after the other. Not by non-temporal stores: with the input read in between, they are
// slower.
template <class T>
void keep_softmax(const T* const* x, std::int64_t n_rows, std::int64_t width,
                  std::int64_t prefetch_distance, double* state, std::int64_t plane, T* const* out,
                  T* reference) {
    using V = Lanes<T>;
    using Op = ExpSum<T>;
    constexpr int W = V::width;
    alignas(64) T own[1][tuning::column_width], base[tuning::column_width],
        sum[tuning::column_width];
    raise_references<Op>(x, x, n_rows, width, state, plane, own);
    for (std::int64_t c = 0; c < width; c += W) {
        const V at = V::load(own[0] + c);
        at.store(reference + c);
        or_zero_if_infinite(at).store(base + c);
        V::zero().store(sum + c);
    }
    for (std::int64_t r = 0; r < n_rows; ++r)
        for_each_vector_of<T>(width, [&](std::int64_t c, std::int64_t count) {
            prefetch<1>(x[r] + c + prefetch_distance);
            const V at = V::load(base + c), a = load_first(x[r] + c, count);
            V total = V::load(sum + c), e;
            Op::template add<1, false>(&a, nullptr, &at, &total, &e);
            total.store(sum + c);
            store_first(e, out[r] + c, count);
        });
    for (std::int64_t c = 0; c < width; c += W) V::load(sum + c).add_to(state + plane + c);
}

template <class T>
void scale_softmax(std::int64_t n_rows, std::int64_t width, const T* reference, const T* parameters,
                   std::int64_t plane, T* const* out) {
    using V = Lanes<T>;
    alignas(64) T factor[tuning::column_width];
    for (std::int64_t c = 0; c < width; c += V::width) {
        const V fall = V::load(reference + c) - V::load(parameters + c);
        (exp_or_zero<T>(fall) * V::load(parameters + plane + c)).store(factor + c);
    }
    for (std::int64_t r = 0; r < n_rows; ++r)
        for_each_vector_of<T>(width, [&](std::int64_t i, std::int64_t count) {
            store_first(load_first(out[r] + i, count) * V::load(factor + i), out[r] + i, count);
        });
}

template <class Map, class T>
constexpr Mapper<T> mapper(decltype(Mapper<T>::fused) fused,
                           decltype(Mapper<T>::keep) keep = nullptr,
                           decltype(Mapper<T>::scale) scale = nullptr) {
    return {map_row<Map, T>, map_columns<Map, T>, fused, keep, scale};
}
