// Selectors, search parameters, range results and the parameter space.
#include <faiss/AutoTune.h>

#include <vector>

#include "internal.h"

using namespace gofaiss;

namespace {

// FAISS's own bitmap selector keeps the caller's pointer. go-faiss passes Go
// memory, which may move or vanish after the call, so this one owns a copy.
struct Bitmap : faiss::IDSelector {
    std::vector<uint8_t> bits;

    Bitmap(size_t n, const uint8_t* p) : bits(p, p + n) {}

    bool is_member(idx_t id) const override {
        uint64_t byte = uint64_t(id) >> 3; // a negative id lands far outside
        return byte < bits.size() && (bits[byte] >> (id & 7) & 1);
    }
};

} // namespace

extern "C" {

void faiss_IDSelector_free(FaissIDSelector* selector) { delete cpp(selector); }

int faiss_IDSelectorRange_new(FaissIDSelectorRange** out, idx_t min, idx_t max) {
    return guard([&] { *out = handle(new faiss::IDSelectorRange(min, max)); });
}

int faiss_IDSelectorBatch_new(FaissIDSelectorBatch** out, size_t n, const idx_t* ids) {
    return guard([&] { *out = handle(new faiss::IDSelectorBatch(n, ids)); });
}

int faiss_IDSelectorBitmap_new(FaissIDSelectorBitmap** out, size_t n, const uint8_t* bitmap) {
    return guard([&] { *out = handle(new Bitmap(n, bitmap)); });
}

int faiss_IDSelectorNot_new(FaissIDSelectorNot** out, const FaissIDSelector* of) {
    return guard([&] { *out = handle(new faiss::IDSelectorNot(cpp(of))); });
}

int faiss_SearchParameters_new(FaissSearchParameters** out, FaissIDSelector* selector) {
    return guard([&] {
        auto params = new faiss::SearchParameters;
        params->sel = cpp(selector);
        *out = handle(params);
    });
}

void faiss_SearchParameters_free(FaissSearchParameters* params) { delete cpp(params); }

int faiss_SearchParametersIVF_new_with(FaissSearchParametersIVF** out, FaissIDSelector* selector, size_t nprobe,
                                       size_t max_codes) {
    return guard([&] {
        auto params = new faiss::SearchParametersIVF;
        params->sel = cpp(selector);
        params->nprobe = nprobe;
        params->max_codes = max_codes;
        *out = handle(params);
    });
}

size_t faiss_SearchParametersIVF_nprobe(const FaissSearchParametersIVF* params) {
    auto ivf = dynamic_cast<const faiss::SearchParametersIVF*>(cpp(params));
    return ivf ? ivf->nprobe : 0;
}

int faiss_RangeSearchResult_new(FaissRangeSearchResult** out, idx_t nq) {
    return guard([&] { *out = handle(new faiss::RangeSearchResult(nq)); });
}

void faiss_RangeSearchResult_free(FaissRangeSearchResult* result) { delete cpp(result); }

size_t faiss_RangeSearchResult_nq(const FaissRangeSearchResult* result) { return cpp(result)->nq; }

void faiss_RangeSearchResult_lims(FaissRangeSearchResult* result, size_t** lims) { *lims = cpp(result)->lims; }

void faiss_RangeSearchResult_labels(FaissRangeSearchResult* result, idx_t** ids, float** distances) {
    *ids = cpp(result)->labels;
    *distances = cpp(result)->distances;
}

int faiss_ParameterSpace_new(FaissParameterSpace** out) {
    return guard([&] { *out = reinterpret_cast<FaissParameterSpace*>(new faiss::ParameterSpace); });
}

void faiss_ParameterSpace_free(FaissParameterSpace* space) {
    delete reinterpret_cast<faiss::ParameterSpace*>(space);
}

int faiss_ParameterSpace_set_index_parameter(const FaissParameterSpace* space, FaissIndex* index, const char* name,
                                             double value) {
    return guard([&] {
        reinterpret_cast<const faiss::ParameterSpace*>(space)->set_index_parameter(cpp(index), name, value);
    });
}

} // extern "C"
