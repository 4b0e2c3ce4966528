#include "datasets/gshhg.h"

#include "datasets/helper.h"

namespace silurus::datasets {

Result<std::unique_ptr<Source<2>>> open_gshhg(const std::string& path) {
  return open_with_helper<2>("silurus-read-gshhg", path);
}

}  // namespace silurus::datasets
