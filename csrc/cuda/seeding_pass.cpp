#include "cuda/seeding_pass.h"

#include "cuda/distance_forms.h"
#include "cuda/seeding.h"

namespace vbfast::cuda {

namespace {

constexpr std::int64_t most_tiles = 4096;

template <class T>
class SeedingPass final : public Seeding {
  public:
    SeedingPass(const double* candidates, std::int64_t n_candidates, std::int64_t n_features,
                const std::vector<std::int64_t>& bounds, std::shared_ptr<Workspace> workspace)
        : memory_(std::move(workspace)), bounds_(bounds), L_(static_cast<int>(n_candidates)) {
        // Distances as log-joints of components without offsets.
        const std::vector<T> centres(candidates, candidates + n_candidates * n_features);
        const std::vector<T> ones(static_cast<std::size_t>(L_), T(1)),
            zeros(static_cast<std::size_t>(L_), T(0));
        const std::vector<double> none((bounds.size() - 1) * static_cast<std::size_t>(L_), 0.0);
        model_.centres = upload(centres_, centres, memory_->compute);
        model_.half_precision = upload(ones_, ones, memory_->compute);
        model_.offset = upload(zeros_, zeros, memory_->compute);
        upload(potentials_, none, memory_->compute);
        memory_->compute.wait();
    }

    std::int64_t run(const std::vector<Block>& blocks, const Interrupt& interrupt) override {
        return feed_chunks<T>(blocks, bounds_, most_tiles, *memory_, interrupt,
                              [&](const FedChunk<T>& fed) { run_chunk(fed); });
    }

    std::vector<double> potentials() override {
        const std::size_t n_candidates = static_cast<std::size_t>(L_);
        std::vector<double> of_partitions((bounds_.size() - 1) * n_candidates),
            total(n_candidates, 0.0);
        check(cudaMemcpyAsync(of_partitions.data(), potentials_.as<double>(),
                              of_partitions.size() * sizeof(double), cudaMemcpyDeviceToHost,
                              memory_->compute),
              "a copy from the device");
        memory_->compute.wait();
        for (std::size_t i = 0; i < of_partitions.size(); ++i)
            total[i % n_candidates] += of_partitions[i];
        return total;
    }

  private:
    void run_chunk(const FedChunk<T>& fed) {
        const cudaStream_t stream = memory_->compute;
        Chunk<T> chunk = fed.chunk;
        const std::int64_t n = chunk.n_rows();
        chunk.joint_stride = n;
        chunk.joint = memory_->joint.reserve<T>(L_ * n);
        distance_log_joint(chunk, Distance::plain, model_, L_, stream);
        const T* closest = fed.template gather<T>(fed.slot->given, 1, stream,
                                                  [](const Block& block) { return block.closest; });
        T* lowered = memory_->resp.reserve<T>(L_ * n);
        double* tile_potentials = memory_->tile_sums.reserve<double>(L_ * chunk.n_tiles);
        lower_distances(chunk, L_, closest, lowered, tile_potentials, stream);
        add_tile_potentials(chunk.ranges, chunk.n_ranges, L_, tile_potentials,
                            potentials_.as<double>(), stream);
        for (std::size_t i = 0; i < fed.plan->pieces.size(); ++i) {
            const Piece& piece = fed.plan->pieces[i];
            const Block& block = fed.block_of(piece);
            if (!block.lowered) continue;
            check(cudaMemcpy2DAsync(static_cast<T*>(block.lowered) + piece.first,
                                    static_cast<std::size_t>(block.lowered_stride) * sizeof(T),
                                    lowered + fed.place_of(i),
                                    static_cast<std::size_t>(n) * sizeof(T),
                                    static_cast<std::size_t>(piece.n_rows) * sizeof(T),
                                    static_cast<std::size_t>(L_), cudaMemcpyDeviceToHost, stream),
                  "a copy from the device");
        }
        memory_->compute.wait();
    }

    std::shared_ptr<Workspace> memory_;
    std::vector<std::int64_t> bounds_;
    int L_;
    DistanceModel<T> model_ = {};
    Buffer centres_, ones_, zeros_, potentials_;
};

}  // namespace

template <class T>
std::unique_ptr<Seeding> make_seeding(const double* candidates, std::int64_t n_candidates,
                                      std::int64_t n_features,
                                      const std::vector<std::int64_t>& bounds,
                                      std::shared_ptr<Workspace> workspace) {
    return std::make_unique<SeedingPass<T>>(candidates, n_candidates, n_features, bounds,
                                            std::move(workspace));
}

template std::unique_ptr<Seeding> make_seeding<float>(const double*, std::int64_t, std::int64_t,
                                                      const std::vector<std::int64_t>&,
                                                      std::shared_ptr<Workspace>);
template std::unique_ptr<Seeding> make_seeding<double>(const double*, std::int64_t, std::int64_t,
                                                       const std::vector<std::int64_t>&,
                                                       std::shared_ptr<Workspace>);

}  // namespace vbfast::cuda
