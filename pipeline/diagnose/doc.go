// Package diagnose is the mathematics of a model's mistakes: which guess belongs
// to which label, rates with intervals, average precision, calibration, groups
// that are worse than the rest, clusters of mistakes, labels that are likely
// wrong, and the paired comparison of two models.
//
// # Units
//
// An Item is a labeled asset, or a labeled object of one, with what is true of it
// and what a model guessed. Three tasks are told apart:
//
//   - one class an item (classification),
//   - several classes an item (multi-label),
//   - boxes (detection): guesses are matched with labels as COCO does.
//
// Match gives the pairs of an item; all counts follow from the pairs. Classes are
// numbers from 0; the confusion matrix has one more row and column, None, for
// guesses without a label and labels without a guess.
//
// Everything here is exact and takes no notice of the order of rows, but where it
// says so.
package diagnose
