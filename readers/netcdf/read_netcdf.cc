// SPDX-License-Identifier: Apache-2.0

#include "readers/netcdf/netcdf.h"

int main(int argc, char** argv) {
  using namespace silurus::readers;
  serve(argc, argv, open_netcdf<2>, open_netcdf<3>);
}
