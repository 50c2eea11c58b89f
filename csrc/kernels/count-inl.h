// Numbers that are known when a kernel is compiled, for one that is known when it runs. A loop over
// blocks of registers ends with a remainder that is shorter than a block: it gets a body of its
// own.

template <int n>
struct Count {
    static constexpr int value = n;
    constexpr operator std::int64_t() const { return n; }
};

// For a lambda that with_count calls and that calls a large block: were it compiled by itself, the
// block would lose what the compiler knows of its arguments, that a count is positive, say.
#define VBFAST_INLINED __attribute__((always_inline))

// Calls f(Count<n>()) for the least n from `least` to `most` such that n units hold `count`, or for
// `most` if none does.
template <int least, int most, int unit = 1, class F>
VBFAST_INLINED inline void with_count(std::int64_t count, F&& f) {
    if constexpr (least < most) {
        if (count <= (most - 1) * unit) {
            with_count<least, most - 1, unit>(count, f);
            return;
        }
    }
    f(Count<most>());
}
