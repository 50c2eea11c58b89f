// Loading of a tile: rows of any strides become lanes, minus the origin, and are checked to be
// finite.
//
// In: tile.rows, (n_rows, n_features) numbers at any address, with strides in bytes of either sign.
// Out: tile.features, for each group of `group_rows` rows (n_features + 2) vectors of rows: the
// features, a constant one, and the squared norm if that is wanted. Lanes beyond the last row
// repeat it and have weight zero, so that no lane is ever uninitialised. tile.raw, where there is
// one, holds the same features as they came.
//
// Error: a difference x - origin is rounded once, the squared norm n_features times.
//
// Blocking: groups are contiguous. A group therefore stays in L1 whatever the number of features,
// and no two of its lines share a cache set, as they would at a power-of-two stride.

template <class T>
constexpr int group_rows = Blocking::row_vectors * Lanes<T>::width;

template <class T>
std::int64_t group_count(const Tile<T>& tile) {
    return (tile.n_rows + group_rows<T> - 1) / group_rows<T>;
}

// Whether the local step is to end early: nobody looks at what it writes then.
template <class T>
bool stops(const Tile<T>& tile) {
    return tile.stop != nullptr && tile.stop(tile.stop_context);
}

template <class T>
double row_weight(const Tile<T>& tile, std::int64_t n) {
    return tile.weights ? tile.weights[n] : 1.0;
}

template <class T>
T load_unaligned(const char* p) {
    T value;
    ::memcpy(&value, p, sizeof(T));
    return value;
}

// Transposes rows [row, row + group) into `out`. The last vector of features may reach beyond the
// row, into rows that follow, and beyond the group, whose successor is loaded later.
template <class T>
void load_group(const Tile<T>& tile, std::int64_t n_features, std::int64_t row, T* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    constexpr std::int64_t size = sizeof(T);
    const bool whole = row + G <= tile.n_rows;
    const bool followed = row + G + W <= tile.n_rows && tile.row_stride > 0;
    const bool aligned =
        reinterpret_cast<std::uintptr_t>(tile.rows) % sizeof(T) == 0 && tile.row_stride % size == 0;
    std::int64_t d = 0;
    if (whole && aligned && tile.feature_stride == size) {
        const T* rows = reinterpret_cast<const T*>(tile.rows + row * tile.row_stride);
        const std::int64_t stride = tile.row_stride / size;
        if (n_features == 1 && stride == 1) {
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::load(rows + v * W).store(out + v * W);
            return;
        }
        for (; d + W <= n_features; d += W)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose(rows + v * W * stride + d, stride, out + d * G + v * W, G);
        for (; d + (followed ? 1 : V::columns) <= n_features; d += V::columns)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose_columns(rows + v * W * stride + d, stride, out + d * G + v * W, G);
        for (; d < n_features; ++d)
            for (int i = 0; i < G; ++i) out[d * G + i] = rows[i * stride + d];
        return;
    }
    for (int i = 0; i < G; ++i) {
        const std::int64_t n = row + i < tile.n_rows ? row + i : tile.n_rows - 1;
        const char* p = tile.rows + n * tile.row_stride;
        for (d = 0; d < n_features; ++d)
            out[d * G + i] = load_unaligned<T>(p + d * tile.feature_stride);
    }
}

// Stores a loaded group minus the origin (zero where it is null), in place unless the raw rows are
// kept. Returns whether all squared norms are ordinary: that of a row that is not finite never is.
template <class T>
bool centre_loaded(std::int64_t n_features, const T* origin, bool squared_norm, const T* raw,
                   T* x) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V norm[RV];
    for (V& a : norm) a = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V c = origin ? V::set(origin[d]) : V::zero();
        for (int v = 0; v < RV; ++v) {
            const V centred = V::load(raw + d * G + v * W) - c;
            norm[v] = fma(centred, centred, norm[v]);
            centred.store(x + d * G + v * W);
        }
    }
    constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
    unsigned ordinary = all;
    for (int v = 0; v < RV; ++v) {
        V::set(T(1)).store(x + n_features * G + v * W);
        if (squared_norm) norm[v].store(x + (n_features + 1) * G + v * W);
        ordinary &= V::bits(less(norm[v], V::set(ordinary_square<T>)));
    }
    return ordinary == all;
}

// The first row of a group that is not finite, or -1.
template <class T>
std::int64_t find_not_finite(const Tile<T>& tile, std::int64_t n_features, std::int64_t g) {
    constexpr int G = group_rows<T>;
    for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
        for (std::int64_t d = 0; d < n_features; ++d) {
            const T x =
                load_unaligned<T>(tile.rows + n * tile.row_stride + d * tile.feature_stride);
            if (!(x * T(0) == T(0))) return n;
        }
    return -1;
}

// Loads all rows. Returns false, with tile.bad_row set, when one is not finite. The next group is
// read before one is centred, so that loads do not wait for their stores.
template <class T>
bool load_features(Tile<T>& tile, std::int64_t n_features, const T* origin, bool squared_norm) {
    constexpr int G = group_rows<T>;
    const std::int64_t n_groups = group_count(tile);
    T* loaded = tile.raw ? tile.raw : tile.features;
    const auto at = [&](T* rows, std::int64_t g) { return rows + g * (n_features + 2) * G; };
    tile.bad_row = -1;
    tile.squares_overflow = false;
    if (n_groups > 0) load_group(tile, n_features, 0, at(loaded, 0));
    for (std::int64_t g = 0; g < n_groups; ++g) {
        if (g + 1 < n_groups) load_group(tile, n_features, (g + 1) * G, at(loaded, g + 1));
        if (centre_loaded(n_features, origin, squared_norm, at(loaded, g), at(tile.features, g)))
            continue;
        tile.bad_row = find_not_finite(tile, n_features, g);
        if (tile.bad_row >= 0) return false;
        tile.squares_overflow = true;
    }
    T* const row_weights = tile.row_weight;
    const std::int64_t n_rows = tile.n_rows;
    if (const double* weights = tile.weights)
        for (std::int64_t n = 0; n < n_rows; ++n) row_weights[n] = static_cast<T>(weights[n]);
    else
        for (std::int64_t n = 0; n < n_rows; ++n) row_weights[n] = T(1);
    for (std::int64_t n = n_rows; n < n_groups * G; ++n) row_weights[n] = T(0);
    return true;
}
