// The kernels above, as the tables that an instruction set is known by.
// Not a header of its own: included inside an instruction set's namespace and target region.

constexpr auto kRowCounts = std::make_integer_sequence<int, kTileRows>();
constexpr GemmKernels kFloat32Kernels = {.activation_size = 4,
                                         .block_depth = kBlockDepth,
                                         .max_tile_rows = kTileRows,
                                         .slice_depth = kSliceDepth,
                                         .weights_rows = 8,
                                         .pack = PackTile<false>,
                                         .gate = GateToTile<false>,
                                         .softmax = SoftmaxOfPanels<FloatTile<false>>,
                                         .float32 = TilesByRows<Float32Kernel>(kRowCounts),
                                         .bfloat16 = TilesByRows<BFloat16Kernel>(kRowCounts),
                                         .expand_pays = true,
                                         .expand_mxfp4 = ExpandMxfp4ToFloat32,
                                         .expand_mxfp6 = ExpandMxfp6ToFloat32,
                                         .expand_mxint8_keys = ExpandMxint8Keys<ToFloat32>,
                                         .expand_mxint8_values = ExpandMxint8Values<ToFloat32>};

// For processors that don't multiply bfloat16: activations rounded to it but kept as floats, a
// product of two is exact in the FMA.
constexpr GemmKernels RoundingKernels() {
  GemmKernels kernels = kFloat32Kernels;
  kernels.pack = PackTile<true>;
  kernels.gate = GateToTile<true>;
  kernels.softmax = SoftmaxOfPanels<FloatTile<true>>;
  return kernels;
}

// Products in bfloat16 or int8, and how fast their instructions are.
struct KernelSet {
  GemmKernels kernels;
  int64_t (*peak)(int64_t repeats);
};

constexpr KernelTable TableOf(Isa isa, std::string_view name, const KernelSet& bfloat16,
                              const KernelSet& mxint8, const GemmKernels& exact = {}) {
  return {.isa = isa,
          .name = name,
          .panel_columns = kPanelColumns,
          .float32 = kFloat32Kernels,
          .bfloat16 = bfloat16.kernels,
          .mxint8 = mxint8.kernels,
          .exact = exact,
          .expand_panel = ExpandPanel,
          .combine = Combine,
          .store_rows = StoreRows,
          .merge_softmax = MergeSoftmax,
          .store_softmax = StoreSoftmax,
          .peak_float32 = PeakFloat32,
          .peak_bfloat16 = bfloat16.peak,
          .peak_int8 = mxint8.peak,
          .read_bytes = ReadBytes,
          .rows = kRowKernels};
}

// What is reserved for products in bfloat16 suffices for those in MXINT8.
constexpr bool Mxint8Fits(const KernelTable& table) {
  const GemmKernels& mxint8 = table.mxint8;
  const GemmKernels& bfloat16 = table.bfloat16;
  const int row_bytes = mxint8.activation_size * kMxBlockSize + mxint8.header_bytes;
  return row_bytes <= bfloat16.activation_size * kMxBlockSize &&
         mxint8.max_tile_rows <= bfloat16.max_tile_rows;
}
