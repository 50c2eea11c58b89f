#include "estep/truncated.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "estep/candidate_lists.h"
#include "estep/candidate_packing.h"
#include "estep/listed_moments.h"
#include "estep/neighbor_graph.h"
#include "estep/statistics.h"
#include "runtime/compiler.h"
#include "runtime/lowest_index.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

namespace vbfast::estep {

namespace {

// Rows in the order of their best components, neighbours close together, and where the tasks of the
// search begin. Of each component those come last whose weight is zero: they teach no neighbours.
struct Order {
    std::vector<std::int32_t> rows;
    struct Task {
        std::int64_t first, last;  // places in the order
        bool learns;
    };
    std::vector<Task> tasks;
};

bool counts(const TruncatedRows& rows, std::int64_t n) {
    return !rows.weights || rows.weights[n] > 0;
}

bool belongs(const TruncatedRows& rows, std::int64_t n_kept, std::int64_t n, std::int32_t best,
             bool count) {
    return rows.kept[n * n_kept] == best && counts(rows, n) == count;
}

Order order_by_best(const TruncatedRows& rows, std::int64_t n_kept,
                    const std::vector<std::int32_t>& places) {
    const std::int64_t n_rows = rows.n_rows, parts = rows.weights ? 2 : 1;
    const std::int64_t n_places = parts * static_cast<std::int64_t>(places.size());
    // Rows that keep nothing yet come first.
    const auto place = [&](std::int64_t n) {
        const std::int32_t k = rows.kept[n * n_kept];
        return k < 0 ? -1 : parts * places[k] + (counts(rows, n) ? 0 : 1);
    };
    std::vector<std::int64_t> begin(static_cast<std::size_t>(n_places) + 2, 0);
    for (std::int64_t n = 0; n < n_rows; ++n) ++begin[place(n) + 2];
    for (std::size_t k = 2; k < begin.size(); ++k) begin[k] += begin[k - 1];
    Order order;
    order.rows.resize(static_cast<std::size_t>(n_rows));
    for (std::int64_t n = 0; n < n_rows; ++n)
        order.rows[begin[place(n) + 1]++] = static_cast<std::int32_t>(n);
    // Now begin[k + 1] is where the rows of place k end. Tasks are of whole places; where one has
    // very many rows, the first of them teach its neighbours.
    std::int64_t first = 0;
    for (std::int64_t at = 0, k = -1; k < n_places; at = begin[k + 1], ++k) {
        const std::int64_t end = begin[k + 1];
        if (end - at > tuning::most_search_rows) {
            if (first < at) order.tasks.push_back({first, at, true});
            for (std::int64_t p = at; p < end; p += tuning::most_search_rows)
                order.tasks.push_back({p, std::min(end, p + tuning::most_search_rows), p == at});
            first = end;
        } else if (end - first >= tuning::search_rows) {
            order.tasks.push_back({first, end, true});
            first = end;
        }
    }
    if (first < n_rows) order.tasks.push_back({first, n_rows, true});
    return order;
}

template <class T>
class TruncatedPassOf final : public TruncatedPass {
  public:
    TruncatedPassOf(const MixtureParameters& parameters, const TruncatedRequest& request,
                    Workspace& workspace, int num_threads, const runtime::Interrupt* interrupt)
        : kernels_(estep::kernels<T>()),
          request_(request),
          workspace_(workspace),
          about_(request.about ? request.about : parameters.means,
                 (request.about ? request.about : parameters.means) +
                     parameters.n_components * parameters.n_features),
          graph_(request.learn ? parameters.n_components : 0, request.n_neighbors) {
        pack_candidates(parameters, request.moments, request.about, kernels_, packed_, num_threads,
                        interrupt);
        places_ = places_by_nearness(request.neighbors, K(), request.n_neighbors);
        if (request.moments != Moments::none)
            moments_ = std::make_unique<ListedMoments<T>>(packed_, workspace);
    }

    std::int64_t run(const TruncatedRows& rows, int num_threads,
                     const runtime::Interrupt* interrupt) override {
        const std::int64_t n = rows.n_rows, C = request_.n_kept;
        if (n == 0) return -1;
        const int threads = runtime::threads_for(operations(n), num_threads);
        const Order order = order_by_best(rows, C, places_);
        SearchedRows<T> searched{};
        const std::size_t bytes = lay_out(searched, n, nullptr);
        lay_out(searched, n, workspace_.scratch(bytes));

        std::vector<TileSums> sums(order.tasks.size(), no_sums);
        std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(threads));
        runtime::LowestIndex bad;
        runtime::parallel(
            static_cast<std::int64_t>(order.tasks.size()), threads, interrupt,
            [&](std::int64_t task, int worker, runtime::Region& region) {
                std::unique_ptr<Worker>& own = workers[static_cast<std::size_t>(worker)];
                if (!own) own = std::make_unique<Worker>(packed_.model, rules());
                const Order::Task& part = order.tasks[static_cast<std::size_t>(task)];
                TileSums& sum = sums[static_cast<std::size_t>(task)];
                for (std::int64_t p = part.first; p < part.last;) {
                    if (runtime::stop_requested(region, worker)) return;
                    const std::int32_t best = rows.kept[order.rows[p] * C];
                    const bool count = counts(rows, order.rows[p]);
                    std::int64_t end = p + 1;
                    while (end < part.last && belongs(rows, C, order.rows[end], best, count)) ++end;
                    const bool learns = part.learns && request_.learn && best >= 0 && count;
                    for (; p < end; p += candidate_rows) {
                        const std::int64_t row =
                            search(rows, order.rows.data() + p,
                                   std::min<std::int64_t>(candidate_rows, end - p), p, learns, *own,
                                   searched, sum);
                        if (row >= 0) return bad.offer(rows.start + row);
                    }
                    p = end;
                    if (!learns) continue;
                    graph_.learn(best, own->differences.sums());
                    own->differences.clear();
                }
            });
        if (bad.index() >= 0) return bad.index();
        for (const TileSums& sum : sums) add(sums_, sum);
        if (moments_) moments_->add(searched, n, C, num_threads, interrupt);
        return -1;
    }

    TileSums sums() const override { return sums_; }

    void statistics(double* weight, double* first, double* second, int num_threads,
                    const runtime::Interrupt* interrupt) override {
        moments_->read(about_.data(), {weight, first, second}, num_threads, interrupt);
    }

    void learned(std::int32_t* components, std::int64_t* counts, double* sums) const override {
        graph_.write(components, counts, sums);
    }

  private:
    // What a thread searches in.
    struct Worker {
        Worker(const CandidateModel<T>& model, const SearchRules& rules)
            : lists(model.n_components, rules), differences(model.n_components) {
            const auto size = static_cast<std::size_t>(rules.n_kept * candidate_rows);
            chosen.resize(size);
            places.resize(size);
            components.resize(size);
            centred.resize(static_cast<std::size_t>(8 * model.padded_features));
        }
        CandidateLists<T> lists;
        DifferenceSums differences;
        std::vector<T> chosen, places;  // BestPairs; then responsibilities
        std::vector<std::int32_t> components;
        std::vector<double> sums;
        std::vector<T> centred;
        T log_evidence[candidate_rows];
    };

    std::int64_t K() const { return packed_.model.n_components; }

    SearchRules rules() const {
        return {request_.n_kept,       request_.n_neighbors, request_.n_random,
                request_.key,          request_.neighbors,   request_.candidates,
                request_.n_candidates, request_.cell_begin,  request_.cell_members};
    }

    std::int64_t operations(std::int64_t n_rows) const {
        const std::int64_t D = packed_.model.n_features;
        const std::int64_t met = std::min(K(), 1 + request_.n_kept * request_.n_neighbors / 2 +
                                                   request_.n_random + request_.n_candidates);
        return n_rows * met * (packed_.model.form == Form::full ? D * D / 2 : 2 * D);
    }

    static std::size_t lay_out(SearchedRows<T>& searched, std::int64_t n_rows, void* memory,
                               std::int64_t n_kept, std::int64_t padded) {
        runtime::Arena arena(memory);
        arena.take(searched.rows, n_rows * padded);
        arena.take(searched.kept, n_rows * n_kept);
        arena.take(searched.weight, n_rows * n_kept);
        arena.take(searched.listed, n_rows * n_kept);
        arena.take(searched.listed_weight, n_rows * n_kept);
        return arena.size();
    }
    std::size_t lay_out(SearchedRows<T>& searched, std::int64_t n_rows, void* memory) const {
        return lay_out(searched, n_rows, memory, request_.n_kept, packed_.model.padded_features);
    }

    static void add(TileSums& sum, const TileSums& other) {
        sum.weight += other.weight;
        sum.log_evidence += other.log_evidence;
        sum.expected_log_joint += other.expected_log_joint;
        sum.entropy += other.entropy;
        sum.lowest_log_evidence = std::min(sum.lowest_log_evidence, other.lowest_log_evidence);
    }

    // Searches rows that have the same best component, and stand at `place` in the order. Returns
    // the least row that is not finite, or -1.
    std::int64_t search(const TruncatedRows& rows, const std::int32_t* index, std::int64_t n,
                        std::int64_t place, bool learns, Worker& own, SearchedRows<T>& searched,
                        TileSums& sum) const {
        T* const x = searched.rows + place * packed_.model.padded_features;
        const std::int64_t bad = kernels_.load_candidate_rows(packed_.model, rows.at, index, n, x);
        if (bad >= 0) return bad;
        // Rows of the next block, which lie anywhere.
        for (std::int64_t i = n; i < std::min(2 * n, rows.n_rows - place); ++i)
            VBFAST_PREFETCH(rows.kept + index[i] * request_.n_kept);
        own.lists.list(rows.kept, index, n, rows.start);
        PairBlock<T> pairs = own.lists.pairs();
        pairs.rows = x;
        pairs.centred = own.centred.data();
        kernels_.pair_log_joints(packed_.model, pairs);
        kernels_.best_pairs(pairs, n, {request_.n_kept, own.chosen.data(), own.places.data()});
        own.lists.name(own.places.data(), rows.kept, index, n, own.components.data());
        if (learns) note_differences(pairs, n, own);
        settle(rows, index, n, place, own, searched, sum);
        return -1;
    }

    // The first component of the block is the best of all its rows.
    void note_differences(const PairBlock<T>& pairs, std::int64_t n, Worker& own) const {
        own.sums.resize(static_cast<std::size_t>(pairs.n_components));
        kernels_.sum_differences(pairs, n, own.sums.data());
        for (std::int64_t i = 0; i < pairs.n_components; ++i) {
            // Sums are over what is possible. What is not for one row, as it has no weight, is not
            // for the others.
            const T one = pairs.log_joint[i * candidate_rows + pairs.row[pairs.first[i]]];
            const bool possible = one > -static_cast<T>(runtime::infinity);
            own.differences.add(
                pairs.components[i], pairs.first[i + 1] - pairs.first[i],
                possible ? own.sums[static_cast<std::size_t>(i)] : runtime::infinity);
        }
    }

    // Responsibilities, sums and outputs of rows that have chosen.
    void settle(const TruncatedRows& rows, const std::int32_t* index, std::int64_t n,
                std::int64_t place, Worker& own, SearchedRows<T>& searched, TileSums& sum) const {
        const std::int64_t C = request_.n_kept;
        T* const resp = own.chosen.data();
        T best[candidate_rows];
        std::copy_n(resp, n, best);
        const bool hard = request_.assignment == Assignment::hard;
        if (hard) {
            for (std::int64_t c = 0; c < C; ++c)
                for (std::int64_t i = 0; i < n; ++i)
                    resp[c * candidate_rows + i] =
                        c == 0 && own.components[static_cast<std::size_t>(i)] >= 0 ? T(1) : T(0);
            std::copy_n(best, n, own.log_evidence);
        } else {
            kernels_.kept_posterior(C, n, resp, own.log_evidence);
        }
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t row = index[i];
            const double w = rows.weights ? rows.weights[row] : 1.0;
            const auto evidence = static_cast<double>(own.log_evidence[i]);
            if (w > 0) {
                sum.weight += w;
                if (!hard) sum.log_evidence += w * evidence;
                if (hard) sum.expected_log_joint += w * evidence;
                if (!hard) sum.lowest_log_evidence = std::min(sum.lowest_log_evidence, evidence);
                if (!hard && request_.entropy) {
                    const double entropy = entropy_of(resp + i, C, evidence);
                    sum.entropy += w * entropy;
                    sum.expected_log_joint += w * (evidence - entropy);
                }
            }
            if (rows.log_evidence) static_cast<T*>(rows.log_evidence)[row] = own.log_evidence[i];
            for (std::int64_t c = 0; c < C; ++c) {
                const std::int32_t k = own.components[c * candidate_rows + i];
                const T r = resp[c * candidate_rows + i];
                rows.kept[row * C + c] = k;
                if (rows.resp) static_cast<T*>(rows.resp)[row * C + c] = r;
                searched.kept[(place + i) * C + c] = k;
                searched.weight[(place + i) * C + c] =
                    k >= 0 && r > least_responsibility<T> ? r * static_cast<T>(w) : T(0);
            }
        }
    }

    // Of a row's responsibilities; zero where all that it keeps is impossible.
    static double entropy_of(const T* resp, std::int64_t n_kept, double log_evidence) {
        double entropy = 0;
        if (!std::isfinite(log_evidence)) return entropy;
        for (std::int64_t c = 0; c < n_kept; ++c) {
            const auto r = static_cast<double>(resp[c * candidate_rows]);
            if (r > 0) entropy -= r * std::log(r);
        }
        return std::max(entropy, 0.0);
    }

    const Kernels<T>& kernels_;
    const TruncatedRequest request_;
    Workspace& workspace_;
    const std::vector<double> about_;
    PackedCandidates<T> packed_;
    NeighborGraph graph_;
    std::vector<std::int32_t> places_;
    std::unique_ptr<ListedMoments<T>> moments_;
    TileSums sums_ = no_sums;
};

}  // namespace

template <class T>
std::unique_ptr<TruncatedPass> make_truncated_pass(const MixtureParameters& parameters,
                                                   const TruncatedRequest& request,
                                                   Workspace& workspace, int num_threads,
                                                   const runtime::Interrupt* interrupt) {
    return std::make_unique<TruncatedPassOf<T>>(parameters, request, workspace, num_threads,
                                                interrupt);
}

template std::unique_ptr<TruncatedPass> make_truncated_pass<float>(const MixtureParameters&,
                                                                   const TruncatedRequest&,
                                                                   Workspace&, int,
                                                                   const runtime::Interrupt*);
template std::unique_ptr<TruncatedPass> make_truncated_pass<double>(const MixtureParameters&,
                                                                    const TruncatedRequest&,
                                                                    Workspace&, int,
                                                                    const runtime::Interrupt*);

}  // namespace vbfast::estep
