#include "estep/candidate_lists.h"

#include <algorithm>

#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::estep {

namespace {

// Calls f with the place of each bit that is set, ascending.
template <class F>
void for_bits(std::uint64_t bits, F&& f) {
    for (int half = 0; half < 64; half += 32)
        for (auto rest = static_cast<std::uint32_t>(bits >> half); rest; rest &= rest - 1)
            f(half + VBFAST_LOWEST_BIT(rest));
}

}  // namespace

std::uint64_t mixed_bits(std::uint64_t key, std::uint64_t counter) {
    std::uint64_t z = key + (counter + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

template <class T>
CandidateLists<T>::CandidateLists(std::int64_t n_components, const SearchRules& rules)
    : n_components_(n_components),
      rules_(rules),
      members_(n_components),
      candidates_(n_components) {}

template <class T>
void CandidateLists<T>::list(const std::int32_t* kept, const std::int32_t* index,
                             std::int64_t n_rows, std::int64_t first_row) {
    members_.clear();
    candidates_.clear();
    for (std::int64_t i = 0; i < n_rows; ++i)
        for (std::int64_t c = 0; c < rules_.n_kept; ++c) {
            const std::int32_t k = kept[index[i] * rules_.n_kept + c];
            if (k >= 0) members_.add(k, std::uint64_t(1) << i);
        }
    // What rows keep comes first: most of it is kept again, and what follows is then refused.
    const std::vector<std::int32_t>& members = members_.components();
    const std::vector<std::uint64_t>& rows = members_.masks();
    for (std::size_t m = 0; m < members.size(); ++m) candidates_.add(members[m], rows[m]);
    const std::uint64_t all = ~std::uint64_t(0) >> (64 - n_rows);
    for (std::int64_t c = 0; c < rules_.n_candidates; ++c)
        candidates_.add(rules_.candidates[c], all);
    if (rules_.neighbors)
        for (std::size_t m = 0; m < members.size(); ++m) {
            const std::int32_t* near = rules_.neighbors + members[m] * rules_.n_neighbors;
            for (std::int64_t g = 0; g < rules_.n_neighbors; ++g)
                if (near[g] >= 0) candidates_.add(near[g], rows[m]);
        }
    if (rules_.cell_begin)
        for (std::size_t m = 0; m < members.size(); ++m)
            for (std::int64_t i = rules_.cell_begin[members[m]];
                 i < rules_.cell_begin[members[m] + 1]; ++i)
                candidates_.add(rules_.cell_members[i], rows[m]);
    for (std::int64_t i = 0; i < n_rows; ++i)
        for (std::int64_t e = 0; e < rules_.n_random; ++e) {
            const auto counter =
                static_cast<std::uint64_t>((first_row + index[i]) * rules_.n_random + e);
            const std::uint64_t drawn = mixed_bits(rules_.key, counter) >> 32;
            candidates_.add(
                static_cast<std::int32_t>(drawn * static_cast<std::uint64_t>(n_components_) >> 32),
                std::uint64_t(1) << i);
        }
    const std::vector<std::uint64_t>& masks = candidates_.masks();
    first_.clear();
    row_.resize(masks.size() * static_cast<std::size_t>(n_rows));
    std::uint8_t* out = row_.data();
    for (const std::uint64_t mask : masks) {
        first_.push_back(static_cast<std::int32_t>(out - row_.data()));
        if (mask == all) {
            for (std::int64_t i = 0; i < n_rows; ++i) *out++ = static_cast<std::uint8_t>(i);
        } else {
            for_bits(mask, [&](int r) { *out++ = static_cast<std::uint8_t>(r); });
        }
    }
    first_.push_back(static_cast<std::int32_t>(out - row_.data()));
    log_joint_.resize(masks.size() * candidate_rows);
}

template <class T>
PairBlock<T> CandidateLists<T>::pairs() {
    PairBlock<T> block{};
    block.n_components = static_cast<std::int64_t>(candidates_.components().size());
    block.components = candidates_.components().data();
    block.first = first_.data();
    block.row = row_.data();
    block.log_joint = log_joint_.data();
    return block;
}

template <class T>
void CandidateLists<T>::name(const T* places, const std::int32_t* kept, const std::int32_t* index,
                             std::int64_t n_rows, std::int32_t* components) const {
    const std::int64_t C = rules_.n_kept;
    const std::vector<std::int32_t>& all = candidates_.components();
    for (std::int64_t c = 0; c < C; ++c)
        for (std::int64_t r = 0; r < n_rows; ++r) {
            const std::int64_t at = c * candidate_rows + r;
            if (places[at] >= T(0)) {
                components[at] = all[static_cast<std::size_t>(places[at])];
                continue;
            }
            components[at] = -1;
            const std::int32_t* before = kept + index[r] * C;
            for (std::int64_t b = 0; b < C && components[at] < 0; ++b) {
                bool taken = before[b] < 0;
                for (std::int64_t o = 0; o < c && !taken; ++o)
                    taken = components[o * candidate_rows + r] == before[b];
                if (!taken) components[at] = before[b];
            }
        }
}

template class CandidateLists<float>;
template class CandidateLists<double>;

}  // namespace vbfast::estep
