"""The op, floor by floor: a call goes down from the first to the compiled core, and each floor imports lower ones only.

1. :mod:`.functional`: the public functions.
2. :mod:`.calls`: a call checked and given to what runs it, by :mod:`.checks`, :mod:`.output_axes` and :mod:`.backends`;
   :mod:`.details` finds what else it returns.
3. :mod:`.autograd`: the wrapper for gradients.
4. :mod:`.ops` and :mod:`.passes`: what torch has registered, with :mod:`.dispatch` and :mod:`.vmap`.
5. :mod:`.core`: the compiled modules.

Beside them stand :mod:`.reference`, the definition in plain PyTorch, :mod:`.definition` and :mod:`.tangents`, which
take from it the derivatives that no kernel has, and what all floors speak of: :mod:`.options` and
:mod:`.result`.
"""
