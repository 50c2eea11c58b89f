// Gradient of the log evidence in the rows: which way a tile goes.
//
// In: tile.joint, which holds exp(l_nk - max_k l_nk), and tile.inverse_sum, which makes
// responsibilities of them and is zero for a row that has none, as its gradient is.
// Out: tile.out_gradient, (n_rows, n_features).
//
// Error: of the way that is taken, see mixed_gradient-inl.h and gathered_gradient-inl.h.
//
// For each row and component that counts, gathering takes D^2 multiplications. Mixing takes D^2 / 2
// for each component that counts in a group, for all rows of the group, and D^2 more a row.

// Whether matrices for gathered rows are there and take fewer multiplications than mixing.
template <class T>
bool gathering_pays(const Model<T>& model, const Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    if (tile.whitened) return true;
    if (!model.gathered_matrices) return false;
    const V limit = V::set(negligible_share<T>);
    std::int64_t pairs = 0, mixed = 0;  // in units of D^2 and of D^2 / 2 multiplications
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* joint = tile.joint + g * model.joint_stride;
        mixed += 2 * G;
        for (std::int64_t k = 0; k < model.n_components; ++k) {
            int count = 0;
            for (int v = 0; v < Blocking::row_vectors; ++v)
                count += VBFAST_COUNT_BITS(V::bits(less(limit, V::load(joint + k * G + v * W))));
            pairs += count;
            if (count > 0) mixed += G;
        }
    }
    return 2 * pairs < mixed;
}

template <class T>
void gradient_step(const Model<T>& model, Tile<T>& tile) {
    if (gathering_pays(model, tile))
        gathered_gradient(model, tile);
    else
        mixed_gradient(model, tile);
}
