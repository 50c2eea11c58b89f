// Early exit from the squared distance of a component that cannot matter.
//
// It changes no bit. A partial sum of squares is compared with the largest log-joint so far:
// squares only grow, maxima of rows only rise, and rounding keeps the order, so the whole sum would
// put the component below that maximum by as much at least, where its exponential is zero.

// Whether the squares so far put a component so far below another one that its responsibilities are
// zero for all rows of the group.
template <class T>
inline bool negligible(const Lanes<T>* squares, T offset, const T* row_max) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
    unsigned below = all;
    VBFAST_UNROLL(8)
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        const V l = fnma(V::set(T(0.5)), squares[v], V::set(offset));
        below &= V::bits(less(l - V::load(row_max + v * W), V::set(ExpConstants<T>::zero_at)));
    }
    return below == all;
}

// Decides for a tile whether to ask. With dense posteriors the answer is always no, and asking
// costs some percent. After a trial of 2048 questions, a few percent of those of a tile, one answer
// in sixteen has to be yes.
struct EarlyExit {
    bool allowed;  // responsibilities are all that is wanted
    std::int64_t asked = 0;
    std::int64_t taken = 0;

    bool pays() const { return allowed && asked < 2048 + 16 * taken; }

    template <class T>
    bool ask(const Lanes<T>* squares, T offset, const T* row_max) {
        const bool possible = negligible(squares, offset, row_max);
        ++asked;
        taken += possible;
        return possible;
    }
};
