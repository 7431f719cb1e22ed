#pragma once
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

namespace weft {

/// Networks run on tensors without data (Torch's meta device), which only count what they would hold: the code that computes says itself how much memory it
/// needs, in milliseconds and without weights. While one of these lives, meta tensors made by its thread count, rounded as the allocator of `kind` rounds.
class Rehearsal {
  public:
    explicit Rehearsal(c10::DeviceType kind);
    ~Rehearsal();
    Rehearsal(const Rehearsal&) = delete;
    Rehearsal& operator=(const Rehearsal&) = delete;

    [[nodiscard]] std::int64_t now() const;
    /// Since the start or the last reset.
    [[nodiscard]] std::int64_t peak() const;
    void reset_peak();

    /// What the running operator takes beside its tensors, given back when it ends.
    static void scratch(std::int64_t bytes);

    /// Tensors made in this scope are not counted: they lie in a mapped file, or in another memory.
    class Uncounted {
      public:
        Uncounted();
        ~Uncounted();
        Uncounted(const Uncounted&) = delete;
        Uncounted& operator=(const Uncounted&) = delete;

      private:
        bool before_;
    };

    struct Counts;

  private:
    std::shared_ptr<Counts> counts_;
    at::AutoDispatchBelowADInplaceOrView no_gradients_;  // InferenceMode would mark tensors; this only skips autograd
};

/// Where a tensor lies, or where a tensor without data would.
[[nodiscard]] c10::DeviceType device_kind(const at::Tensor& tensor);

}  // namespace weft
