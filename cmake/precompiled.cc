// SPDX-License-Identifier: Apache-2.0

// A precompiled header needs a unit to belong to.
