// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

namespace silurus {

/// A callable that lives in place: like std::function, but never allocates and is only moved. What
/// doesn't fit (captures of more than kBytes bytes) doesn't compile; capture a pointer instead.
template <typename Signature, std::size_t kBytes = 48>
class InlineFunction;

template <typename R, typename... Args, std::size_t kBytes>
class InlineFunction<R(Args...), kBytes> {
 public:
  InlineFunction() = default;

  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, InlineFunction> &&
           std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
      InlineFunction(F&& f) {  // NOLINT: implicit, so that a lambda can be passed
    using Callable = std::remove_cvref_t<F>;
    static_assert(sizeof(Callable) <= kBytes, "captures too much: capture a pointer instead");
    static_assert(alignof(Callable) <= alignof(std::max_align_t));
    static_assert(std::is_nothrow_move_constructible_v<Callable>);
    new (storage_) Callable(std::forward<F>(f));
    invoke_ = [](void* storage, Args... args) -> R {
      return (*static_cast<Callable*>(storage))(std::forward<Args>(args)...);
    };
    relocate_ = [](void* from, void* to) {
      auto* callable = static_cast<Callable*>(from);
      if (to != nullptr) new (to) Callable(std::move(*callable));
      callable->~Callable();
    };
  }

  InlineFunction(InlineFunction&& other) noexcept { take(other); }
  InlineFunction& operator=(InlineFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~InlineFunction() { reset(); }

  explicit operator bool() const { return invoke_ != nullptr; }

  R operator()(Args... args) {
    if (invoke_ == nullptr) std::abort();  // there is nothing to call
    return invoke_(storage_, std::forward<Args>(args)...);
  }

  void reset() {
    if (relocate_ != nullptr) relocate_(storage_, nullptr);
    invoke_ = nullptr;
    relocate_ = nullptr;
  }

 private:
  void take(InlineFunction& other) {
    if (other.relocate_ != nullptr) other.relocate_(other.storage_, storage_);
    invoke_ = std::exchange(other.invoke_, nullptr);
    relocate_ = std::exchange(other.relocate_, nullptr);
  }

  alignas(std::max_align_t) std::byte storage_[kBytes];
  R (*invoke_)(void*, Args...) = nullptr;
  void (*relocate_)(void* from, void* to) = nullptr;  ///< to null: only destroys
};

}  // namespace silurus
