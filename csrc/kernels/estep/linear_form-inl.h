// The log-joint of components that are linear in the row, offset_k + x_n theta_k: a matrix product.
//
// In: a group of rows, about no origin, and theta in blocks of distance_components components, in
// each (n_features, distance_components); the last block is padded with zeros.
// Out: the components' rows of tile.joint, and the maxima.
//
// Error: features are added up linear_features at a time, and then these sums: about
// (linear_features + n_features / linear_features) epsilon sum_d |x_nd theta_kd|. A log-joint that
// is not finite may owe that to a term or a part of the sum: linear_overflow-inl.h settles it.
//
// Blocking: distance_components times row_vectors sums stay in registers, and a feature of the rows
// is read once for all of them. So many features of a group stay in L1 while all components of a
// visit meet them; theta comes from L2, which could give ten times as much. Between two blocks of
// features the sums wait in tile.joint.

// The parameters of component k; those of a feature and of the next one are distance_components
// numbers apart.
template <class T>
inline const T* theta_of(const Model<T>& model, std::int64_t k) {
    constexpr std::int64_t block = Blocking::distance_components;
    return model.factor + k / block * block * model.n_features + k % block;
}

// Parameters that fit half of L2 meet one group after the other. Else all groups of the tile meet a
// part of them that does, before the next part is fetched. A visit begins where a block of
// components does.
template <class T>
Visits plan_linear_visits(const Model<T>& model, std::int64_t n_groups) {
    constexpr std::int64_t block = Blocking::distance_components;
    const std::int64_t fitting =
        tuning::half_of_l2 / (model.n_features * static_cast<std::int64_t>(sizeof(T)));
    if (model.n_components <= fitting) return {1, model.n_components};
    return {n_groups, fitting > block ? fitting / block * block : block};
}

// Adds features `first` to `last` - 1 of `n` components from k on to their sums; after the last
// one, the offsets, and the maxima of the rows rise.
template <class T, int n>
inline void linear_block(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t k,
                         std::int64_t first, std::int64_t last) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    const std::int64_t D = model.n_features;
    const T* x = tile.features + g * (D + 2) * G;
    const T* theta = theta_of(model, k);
    T* joint = tile.joint + g * model.joint_stride + k * G;
    V acc[n][RV];
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) acc[i][v] = V::zero();
    for (std::int64_t d = first; d < last; ++d) {
        V xd[RV];
        VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            const V t = V::set(theta[d * Blocking::distance_components + i]);
            VBFAST_UNROLL(8)
            for (int v = 0; v < RV; ++v) acc[i][v] = fma(xd[v], t, acc[i][v]);
        }
    }
    if (first > 0) {
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) acc[i][v] = V::load(joint + i * G + v * W) + acc[i][v];
    }
    T* row_max = tile.row_max + g * G;
    V largest[RV];
    VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) largest[v] = V::load(row_max + v * W);
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) {
        const V offset = V::set(last == D ? model.offset[k + i] : T(0));
        VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) {
            const V sum = acc[i][v] + offset;
            sum.store(joint + i * G + v * W);
            largest[v] = max(sum, largest[v]);
        }
    }
    if (last < D) return;
    VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) largest[v].store(row_max + v * W);
}

// Components `first` to `last` - 1; `first` is a multiple of distance_components.
template <class T>
void linear_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t first,
                      std::int64_t last) {
    constexpr int n = Blocking::distance_components;
    const std::int64_t D = model.n_features;
    const std::int64_t n_blocks = (D + tuning::linear_features - 1) / tuning::linear_features;
    const std::int64_t step = (D + n_blocks - 1) / n_blocks;  // blocks of nearly one length
    for (std::int64_t d = 0; d < D; d += step) {
        const std::int64_t end = d + step < D ? d + step : D;
        std::int64_t k = first;
        for (; k + n <= last; k += n) linear_block<T, n>(model, tile, g, k, d, end);
        if (k < last)
            with_count<1, n - 1>(last - k, [&](auto components) VBFAST_INLINED {
                linear_block<T, components.value>(model, tile, g, k, d, end);
            });
    }
}
