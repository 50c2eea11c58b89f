// Labels: the first component of largest log-joint of each row.
//
// In: tile.joint and tile.row_max, after settle_overflowed (overflow-inl.h).
// Out: tile.label, and tile.out_labels where that is wanted. Exact; 0 for a row of NaN alone.
//
// The components are compared with the maximum, which is known, until every lane has its label.

// The labels of a group.
template <class T>
void find_labels(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const T* joint = tile.joint + g * model.joint_stride;
    const V lowest = V::set(-static_cast<T>(runtime::infinity));
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        const V row_max = V::load(tile.row_max + g * G + v * W);
        // Zero is the largest that settle_overflowed leaves, if it leaves any.
        const V largest = V::select(equal(row_max, lowest), V::zero(), row_max);
        std::int32_t* label = tile.label + g * G + v * W;
        unsigned missing = W == 32 ? ~0u : (1u << W) - 1;
        for (int i = 0; i < W; ++i) label[i] = 0;  // NaN alone: no component is largest
        for (std::int64_t k = 0; k < model.n_components && missing; ++k) {
            unsigned hit = V::bits(equal(V::load(joint + k * G + v * W), largest)) & missing;
            missing &= ~hit;
            for (int i = 0; hit; ++i, hit >>= 1)
                if (hit & 1) label[i] = static_cast<std::int32_t>(k);
        }
    }
    if (tile.out_labels)
        for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
            tile.out_labels[n] = tile.label[n];
}
