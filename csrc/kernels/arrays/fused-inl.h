// Reduction and map of rows in one call, with one exponential an element.

// The lines of a single large output go past the caches. Those of two do not, since they would have
// to take turns, in which that is slower: they are asked for while the exponentials are computed,
// which leave memory idle.
template <class Map, class T>
void fused_row(const T* x, const T* y, std::int64_t n, std::int64_t ahead, double weight, T* out0,
               T* out1, bool stream, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    using Op = typename Map::Sums;
    Kept<T> kept;
    T reference[Op::references];
    row_references<Op>(x, y, n, reference);
    row_sums<Op>(x, y, n, ahead, reference, state, plane,
                 [&](auto count, const V* e, std::int64_t i) {
                     kept(count, e, i);
                     if constexpr (Map::outputs > 1) {
                         fetch_ahead<count.value>(out0 + i);
                         fetch_ahead<count.value>(out1 + i);
                     }
                 });
    if constexpr (Op::rest >= 0) keep_rest<Op>(kept, n, state, plane);
    T parameters[max_parameters];
    Map::find_parameters(state, plane, weight, parameters);
    V p[Map::parameters];
    for (int k = 0; k < Map::parameters; ++k) p[k] = V::set(parameters[k]);
    for_each_stored<Map>(out0, n, stream, [&](std::int64_t i, std::int64_t count, auto store) {
        V out[Map::outputs];
        const V second = Map::inputs > 1 ? load_first(y + i, count) : V::zero();
        Map::finish(V::load(kept.e + i), load_first(x + i, count), second, p, out);
        put(store, out[0], out0 + i, count);
        if constexpr (Map::outputs > 1) store_first(out[1], out1 + i, count);
    });
}

template <class Map, class T>
constexpr Mapper<T> mapper(decltype(Mapper<T>::fused) fused,
                           decltype(Mapper<T>::keep) keep = nullptr,
                           decltype(Mapper<T>::scale) scale = nullptr) {
    return {map_row<Map, T>, map_columns<Map, T>, fused, keep, scale};
}
