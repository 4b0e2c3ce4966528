#pragma once

/// Marks what programs outside may call: classes, functions, and templates that are instantiated in
/// the library. libsilurus.so shows these symbols and no others, since everything is compiled with
/// hidden visibility.
#define SILURUS_API __attribute__((visibility("default")))
