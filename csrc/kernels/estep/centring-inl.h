// Rows about a component's own mean.
//
// In: tile.features, minus the origin, where all components are near, else tile.raw, rows as they
// came. The mean of a component is then two numbers of T, `centres` + `centres_low`.
// Out: groups of (n_features, group rows) in tile.group_scratch, 64-byte aligned.
//
// Error: the difference from `centres` is exact for rows about as far from zero as the mean
// (Sterbenz 1974), and the second one takes off what rounding the mean to float32 left out. So
// x - mean has the digits of its own size, wherever the mean lies.

// Group g of the rows that centres are subtracted from.
template <class T>
const T* uncentred_group(const Model<T>& model, const Tile<T>& tile, std::int64_t g) {
    return (model.all_near ? tile.features : tile.raw) + g * (model.n_features + 2) * group_rows<T>;
}

// A mean in one feature, as far as rows as they came need it.
template <class T>
struct Centre {
    Lanes<T> rounded, low;

    Centre(const Model<T>& model, std::int64_t k, std::int64_t d)
        : rounded(Lanes<T>::set(model.centres[k * model.padded_features + d])),
          low(Lanes<T>::zero()) {
        if constexpr (sizeof(T) == 4)
            low = Lanes<T>::set(model.centres_low[k * model.padded_features + d]);
    }
    Lanes<T> subtract_from(Lanes<T> x) const {
        if constexpr (sizeof(T) == 4) return (x - rounded) - low;
        return x - rounded;
    }
};

// x - mean_k of group g into scratch, for a far component.
template <class T>
const T* centre_group(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const T* x = uncentred_group(model, tile, g);
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        const Centre<T> centre(model, k, d);
        for (int v = 0; v < Blocking::row_vectors; ++v)
            centre.subtract_from(V::load(x + d * G + v * W))
                .store(tile.group_scratch + d * G + v * W);
    }
    return tile.group_scratch;
}

// Whether `n` components from k on are near.
template <class T, int n>
inline bool all_near(const Model<T>& model, std::int64_t k) {
    bool near = true;
    if (!model.all_near)
        for (int i = 0; i < n; ++i) near = near && model.near[k + i];
    return near;
}

// Whether components k to last - 1 are all near, or all far.
template <class T>
bool all_alike(const Model<T>& model, std::int64_t k, std::int64_t last) {
    bool alike = true;
    if (!model.all_near)
        for (std::int64_t i = k + 1; i < last; ++i) alike = alike && model.near[i] == model.near[k];
    return alike;
}

// evaluate(count, k) for components `first` to `last` - 1, `n` at a time from k on, where count is
// known to the compiler. What remains goes together if that is of one kind.
template <class T, int n, class Evaluate>
inline void for_blocks(const Model<T>& model, std::int64_t first, std::int64_t last,
                       const Evaluate& evaluate) {
    std::int64_t k = first;
    for (; k + n <= last; k += n) evaluate(Count<n>(), k);
    if (k < last && all_alike(model, k, last))
        with_count<1, n - 1>(last - k, [&](auto rest) VBFAST_INLINED { evaluate(rest, k); });
    else
        for (; k < last; ++k) evaluate(Count<1>(), k);
}
