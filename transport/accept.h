#pragma once

#include "transport/unique_fd.h"

namespace silurus::transport {

/// Accepts connections even when the process has no descriptor left: then it hangs up on them, for
/// else they would stay in the queue and wake the poller for ever.
class Accepting {
 public:
  Accepting();
  /// The next connection of a listening socket, non-blocking; none if there is none, or if it had
  /// to be turned away.
  UniqueFd accept(int listening);

 private:
  UniqueFd spare_;  ///< given up for a moment in order to turn a connection away
};

}  // namespace silurus::transport
