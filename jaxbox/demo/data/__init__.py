"""Images with their boxes: digits, and folders in the layout of COCO.

digits        real digits on noisy canvases, with their boxes
folder        a folder of images with their boxes, in the layout of COCO
loader        batches of such images
export        `jaxbox digits`
"""
