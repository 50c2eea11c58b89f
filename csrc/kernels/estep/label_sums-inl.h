// First moments of rows by label, from the rows as they lie: label_means (gathered_moments-inl.h)
// without tiles, to the bit.
//
// In: rows at any address, a label for each. Out: sums of components at gathered_stride.
//
// Error: as there. The same differences in T are added up in float64, row after row.
//
// Blocking: lanes across features. A row is read once and its sums are in L1 or L2.

// Adds one row of `Features`, which may be a Count. `origin` is read where centres are near.
template <class T, bool near, bool weighted, class Features>
inline void add_row(const T* x, const T* origin, const T* centre, Features n_features, double r,
                    double* sums) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const std::int64_t D = n_features;
    sums[0] += r;
    std::int64_t d = 0;
    // Products with a weight are taken in float64, which only lanes of float64 do.
    if constexpr (!weighted || sizeof(T) == 8)
        for (; d + W <= D; d += W) {
            V t = V::load(x + d);
            if constexpr (near) t = t - V::load(origin + d);
            t = t - V::load(centre + d);
            if constexpr (weighted) t = t * V::set(static_cast<T>(r));
            t.add_to(sums + 1 + d);
        }
    for (; d < D; ++d) {
        T t = x[d];
        if constexpr (near) t = t - origin[d];
        t = t - centre[d];
        sums[1 + d] += weighted ? r * static_cast<double>(t) : static_cast<double>(t);
    }
}

template <class T, bool near, bool weighted, class Features>
void add_rows(const Model<T>& model, const RowRange<T>& range, Features n_features,
              double* gathered) {
    const std::int64_t P = model.padded_features;
    constexpr std::int64_t size = sizeof(T);
    const bool in_place = range.feature_stride == size && range.row_stride % size == 0 &&
                          reinterpret_cast<std::uintptr_t>(range.rows) % sizeof(T) == 0;
    for (std::int64_t n = 0; n < range.n_rows; ++n) {
        // As tile.row_weight has it.
        const double r = weighted ? static_cast<double>(static_cast<T>(range.weights[n])) : 1.0;
        if (!(r > 0)) continue;
        const char* p = range.rows + n * range.row_stride;
        const T* x = reinterpret_cast<const T*>(p);
        if (!in_place) {
            for (std::int64_t d = 0; d < n_features; ++d)
                range.row[d] = load_unaligned<T>(p + d * range.feature_stride);
            x = range.row;
        }
        const std::int64_t k = range.label[n];
        add_row<T, near, weighted>(x, model.origin, model.centres + k * P, n_features, r,
                                   gathered + k * model.gathered_stride);
    }
}

// Loops over few features have their length at compile time.
template <class T, bool near, bool weighted>
void add_rows(const Model<T>& model, const RowRange<T>& range, double* gathered) {
    const std::int64_t D = model.n_features;
    if (D > tuning::unrolled_features)
        add_rows<T, near, weighted>(model, range, D, gathered);
    else
        with_count<1, tuning::unrolled_features>(D, [&](auto count) VBFAST_INLINED {
            add_rows<T, near, weighted>(model, range, count, gathered);
        });
}

// See Kernels::label_sums.
template <class T>
void label_sums(const Model<T>& model, const RowRange<T>& range, double* gathered) {
    if (model.all_near)
        range.weights ? add_rows<T, true, true>(model, range, gathered)
                      : add_rows<T, true, false>(model, range, gathered);
    else
        range.weights ? add_rows<T, false, true>(model, range, gathered)
                      : add_rows<T, false, false>(model, range, gathered);
}
