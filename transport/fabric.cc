#include "transport/fabric.h"

#include "transport/shm/fabric.h"
#include "transport/tcp/fabric.h"

namespace silurus::transport {

Result<std::unique_ptr<Fabric>> make_fabric(std::string_view scheme) {
  if (scheme == "shm") return shm::make_fabric();
  if (scheme == "tcp") return tcp::make_fabric();
  return fail(ErrorCode::kUnsupported, "no fabric for \"" + std::string(scheme) +
                                           "://\" in this build; there are shm:// and tcp://");
}

}  // namespace silurus::transport
