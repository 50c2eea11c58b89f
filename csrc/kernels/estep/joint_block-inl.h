// A block of components against a group of rows: its size, and what it leaves in tile.joint.

// The number of components whose parameters, of component_bytes each, fit `bytes`. It is a multiple
// of every register block (24 is one of 2, 4 and 6) once it is larger than 24.
inline std::int64_t parameter_block(std::int64_t component_bytes,
                                    std::int64_t bytes = tuning::half_of_l2) {
    const std::int64_t block = bytes / component_bytes;
    return block > 24 ? block / 24 * 24 : (block > 1 ? block : 1);
}

// The groups of rows that meet the same components, and those components, before either changes.
struct Visits {
    std::int64_t groups;
    std::int64_t components;
};

// Stores offset_k - weight_k acc for `n` components, with weight 1/2 where `weights` is null, and
// raises the maxima of the rows, in memory, once for all of them.
template <class T, int n>
inline void finish_joint(const Lanes<T> (*acc)[Blocking::row_vectors], const T* weights,
                         const T* offsets, T* joint, T* row_max) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    VBFAST_UNROLL(8)
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        V largest = V::load(row_max + v * W);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            const V weight = V::set(weights ? weights[i] : T(0.5));
            const V l = fnma(weight, acc[i][v], V::set(offsets[i]));
            l.store(joint + i * G + v * W);
            largest = max(l, largest);
        }
        largest.store(row_max + v * W);
    }
}
