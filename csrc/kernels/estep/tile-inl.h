// Loading of a tile: rows of any strides become lanes, minus the shift, and are checked to be
// finite.
//
// Layout of tile.features: for each group of `group_rows` rows, (n_features + 2) vectors of rows:
// the features, a constant one, and the squared norm. Groups are contiguous, so that a group stays
// in L1 whatever the number of features, and no two of its lines share a cache set by a
// power-of-two stride.

template <class T>
constexpr int group_rows = Blocking::row_vectors * Lanes<T>::width;

template <class T>
std::int64_t group_count(const Tile<T>& tile) {
    return (tile.n_rows + group_rows<T> - 1) / group_rows<T>;
}

// Whether the local step is to be left: what it writes is not looked at then.
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
    __builtin_memcpy(&value, p, sizeof(T));
    return value;
}

// Transposes rows [row, row + group) into `out`; rows beyond the last repeat the last one, with
// zero weight elsewhere, so that no lane is ever uninitialised.
//
// The last vector of features may reach beyond the row, into rows that follow, and beyond the
// group, whose successor is loaded later.
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
        const long stride = static_cast<long>(tile.row_stride / size);
        for (; d + (followed ? 1 : W) <= n_features; d += W)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose(rows + v * W * stride + d, stride, out + d * G + v * W, G);
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

// Stores a loaded group minus the shift (zero where it is null), in place unless the raw rows are
// kept. Returns whether all squared distances are ordinary, which no row is that is not finite.
template <class T>
bool centre_loaded(std::int64_t n_features, const T* shift, bool squared_norm, const T* raw, T* x) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V norm[RV];
    for (V& a : norm) a = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V c = shift ? V::set(shift[d]) : V::zero();
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

// Loads all rows. Returns false, with tile.bad_row set, when one is not finite. A group is read
// ahead of the one that is centred, so that loads do not wait for their stores.
template <class T>
bool load_features(Tile<T>& tile, std::int64_t n_features, const T* shift, bool squared_norm) {
    constexpr int G = group_rows<T>;
    const std::int64_t n_groups = group_count(tile);
    T* loaded = tile.raw ? tile.raw : tile.features;
    const auto at = [&](T* rows, std::int64_t g) { return rows + g * (n_features + 2) * G; };
    tile.bad_row = -1;
    tile.squares_overflow = false;
    if (n_groups > 0) load_group(tile, n_features, 0, at(loaded, 0));
    for (std::int64_t g = 0; g < n_groups; ++g) {
        if (g + 1 < n_groups) load_group(tile, n_features, (g + 1) * G, at(loaded, g + 1));
        if (centre_loaded(n_features, shift, squared_norm, at(loaded, g), at(tile.features, g)))
            continue;
        tile.bad_row = find_not_finite(tile, n_features, g);
        if (tile.bad_row >= 0) return false;
        tile.squares_overflow = true;
    }
    for (std::int64_t n = 0; n < n_groups * G; ++n)
        tile.row_weight[n] = n < tile.n_rows ? static_cast<T>(row_weight(tile, n)) : T(0);
    return true;
}

// Group g of the rows that centres are subtracted from.
template <class T>
const T* uncentred_group(const Model<T>& model, const Tile<T>& tile, std::int64_t g) {
    return (model.all_near ? tile.features : tile.raw) + g * (model.n_features + 2) * group_rows<T>;
}

// The same rows once more, row-major and zero-padded: lanes across features.
template <class T>
void load_row_major(Tile<T>& tile, const Model<T>& model) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* x = uncentred_group(model, tile, g);
        T* rows = tile.row_major + g * G * P;
        std::int64_t d = 0;
        for (; d + W <= D; d += W)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose(x + d * G + v * W, G, rows + v * W * P + d, static_cast<long>(P));
        for (int i = 0; i < G; ++i)
            for (std::int64_t f = d; f < P; ++f) rows[i * P + f] = f < D ? x[f * G + i] : T(0);
    }
}

// Lists the rows whose entry for component k in tile.joint is above a limit, with the entry times
// the row's scale where that is positive. Returns how many they are.
template <class T>
std::int64_t list_above(Tile<T>& tile, std::int64_t joint_stride, std::int64_t k, T limit,
                        const T* scale) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    std::int64_t count = 0;
    for (std::int64_t g = 0; g < group_count(tile); ++g)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const T* e = tile.joint + g * joint_stride + k * G + v * W;
            unsigned some = V::bits(less(V::set(limit), V::load(e)));
            for (; some; some &= some - 1) {
                const int i = __builtin_ctz(some);
                const std::int64_t n = g * G + v * W + i;
                const T r = e[i] * scale[n];
                if (n >= tile.n_rows || !(r > T(0))) continue;
                tile.list[count] = static_cast<std::int32_t>(n);
                tile.list_weight[count++] = r;
            }
        }
    return count;
}
