"""Recipes: the settings of the paper's Tables 2 to 4, one TOML file a network and data set.

Paper and published code (github.com/SamYWK/Associated_Learning, as last committed) differ in some numbers, and which
commit made the tables is not known. Here the code holds, because it ran; comments say what the paper has instead.
`albench.harness.recipe_file` says how the files are read, ``albench list`` names them.

All of them have in common:

* **Rate**: 1e-4 (paper and code) but where a file says otherwise, ×0.1 at 40, 60 and 80 % of all mini-batches and ×0.5
  at 90 %: after 80, 120, 160 and 180 of 200 epochs. The paper names these epochs and no factors; the factors are the
  code's. AL's g and h learn at twice the rate, as in the code.
* **Batch 32, 200 epochs**: the code's; the paper says "after 200 epochs" of its Tables 5 and 6 alone.
* **ε as TensorFlow 1 has it** (``epsilon = "tensorflow"``), because the code ran on it. Engines that record or stack
  their updates cannot have it: give ``--epsilon torch`` there.
* **L2** as TensorFlow's ``l2_regularizer`` defines it, scale·½‖w‖² added to the loss: a gradient of scale·w, which is
  Adam's ``weight_decay``. On the kernels of convolutions only, in AL those of f (``decayed``), as in the code.
* **Order**: the code goes through the training set in the same order in every epoch; albench shuffles each epoch, from
  the seed.
* **Held-out**: the accuracy at the end of training. The code selects no epoch; the paper does not say.
"""
