// SPDX-License-Identifier: Apache-2.0

#pragma once

/// Marks what programs outside may call: classes, functions, and templates that are instantiated in
/// the library. libsilurus.so shows these symbols and no others, since everything is compiled with
/// hidden visibility. The mark belongs to the declaration; of headers that everything includes, to
/// the definition.
#define SILURUS_API __attribute__((visibility("default")))
/// Takes a part of a marked class out again.
#define SILURUS_INTERNAL __attribute__((visibility("hidden")))
